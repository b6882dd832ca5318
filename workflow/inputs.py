"""What a build depends on. Standard library only: the quick check of a second build uses it too."""

import hashlib
import itertools
import json
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

START_MINUTES = 20  # what each job gets on top of its cells

# Parts of the library that no notebook can see.
AFTER_NOTEBOOKS = {
    "cli.py",
    "ledger.py",
    "ledger_pages.py",
    "ledger_pages.jinja",
    "workflow_plan.py",
    "items.yaml",
}
CODE = (".py", ".yaml", ".html", ".jinja", ".md", ".mplstyle")  # a package's code and its data
BUILT = {"_executed", "_generated", "__pycache__"}


def files_below(folder, *endings):
    """Files of the folder, sorted, relative to the root;
    without hidden files and what the build itself makes."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in found
        if not any(part in BUILT or part.startswith(".") for part in path.parts)
        and (not endings or path.suffix in endings)
    )


def library_sources():
    """Code and data of the library and of the book,
    and the results of attempts and benchmarks that pages show."""
    data = [*files_below("results/attempts", ".csv"), *files_below("benchmarks/results", ".json")]
    packages = (files_below(package, *CODE) for package in ("jpo_lib", "jpo_book"))
    return [*itertools.chain(*packages), *data]


def notebook_library_sources():
    """The part of the library on which the pages of the notebooks depend."""
    return [path for path in library_sources() if Path(path).name not in AFTER_NOTEBOOKS]


def book_sources():
    """Pages, settings and assets of the book."""
    return [*files_below("book"), "_config.yml"]


def list_notebooks():
    """The notebooks, in the order of their numbers."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def studies_folder():
    """Where the study files are, as jpo_book.files.studies_folder."""
    return Path(os.environ.get("JPO_STUDIES") or ROOT / "_build" / "studies")


def all_sources():
    """Everything of the clone that a build reads."""
    return [
        *library_sources(),
        *files_below("notebooks", ".ipynb"),
        *book_sources(),
        *files_below("workflow"),
    ]


def content_hash(paths):
    """SHA-256 over names and contents of files given relative to the root."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path}\0{hashlib.sha256((ROOT / path).read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def code_cells(notebook):
    """The code of a notebook, cell by cell."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def studies_of(notebook, studies):
    """Names of the studies that a notebook loads: those it names in plan("..."), or all where it loads some
    and names none."""
    code = "\n".join(code_cells(notebook))
    named = set(re.findall(r"""\bplan\(\s*["'](\w+)["']""", code))
    prefixes = tuple(re.findall(r"""\bplan\(\s*f["'](\w+)\{""", code))  # f"billiards_{name}": any of them
    if named or prefixes or "load_or_run(" not in code:
        return [name for name in studies if name in named or name.startswith(prefixes)]
    return list(studies)


def requested(cells):
    """Minutes and memory in MB that a job for these cells asks for:
    the sum of their times, the most memory of any."""
    return {
        "minutes": START_MINUTES + sum(cell["minutes"] for cell in cells),
        "memory_mb": max(cell["memory_mb"] for cell in cells),
    }
