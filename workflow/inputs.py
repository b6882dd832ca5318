"""What a build depends on. Standard library only: the quick check of a second build uses it too."""

import json
import re
from pathlib import Path

from jpo_book.run.sources import files_below, library_sources, list_notebooks

ROOT = Path(__file__).resolve().parent.parent

START_MINUTES = 20  # what each job gets on top of its cells


def book_sources():
    """Pages, settings and assets of the book."""
    return [*files_below("book"), "_config.yml"]


def all_sources():
    """Everything of the clone that a build reads."""
    return [
        *library_sources(),
        *(path.relative_to(ROOT).as_posix() for path in list_notebooks()),
        *book_sources(),
        *files_below("workflow"),
    ]


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
