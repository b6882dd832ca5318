"""The files of a clone that its pages are made from, judged by content. Standard library only: the quick
check of a second build uses it, too."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path

from jpo_book.files import root_folder, sha256

# Parts of the library that no notebook can see.
AFTER_NOTEBOOKS = {"cli.py", "workflow_plan.py", "items.yaml", "items.py", "page_state.py"}
AFTER_NOTEBOOKS |= {"ledger.py", "ledger_pages.py", "ledger_pages.jinja", "forest.py"}
CODE = (".py", ".yaml", ".html", ".jinja", ".md", ".mplstyle")  # a package's code and its data
BUILT = {"_executed", "_generated", "__pycache__"}
PAGE_OF_NOTEBOOK = re.compile(r"^[\s-]*file:\s*_executed/(\S+?)(?:\.ipynb)?\s*$", re.MULTILINE)


def files_below(folder: str, *endings: str) -> list[str]:
    """Files of a folder, sorted, relative to the root;
    without hidden files and what the build itself makes."""
    root = root_folder()
    found = (path.relative_to(root) for path in (root / folder).rglob("*") if path.is_file())
    ours = (path for path in found if not any(part in BUILT or part[0] == "." for part in path.parts))
    return sorted(path.as_posix() for path in ours if not endings or path.suffix in endings)


def library_sources() -> list[str]:
    """Code and data of the library and of the book,
    and the results of attempts and benchmarks that pages show."""
    data = [*files_below("results/attempts", ".csv"), *files_below("benchmarks/results", ".json")]
    packages = (files_below(package, *CODE) for package in ("jpo_lib", "jpo_book"))
    return [*itertools.chain(*packages), *data]


def notebook_library_sources() -> list[str]:
    """The part of the library on which the pages of the notebooks depend."""
    return [path for path in library_sources() if Path(path).name not in AFTER_NOTEBOOKS]


def all_notebooks() -> list[Path]:
    """The notebooks in notebooks/, in the order of their numbers."""
    return sorted((root_folder() / "notebooks").glob("*.ipynb"))


def list_notebooks() -> list[Path]:
    """The notebooks of the book, in the order of their numbers: those that its table of contents names (all,
    where there is none)."""
    toc = root_folder() / "book" / "_toc.yml"
    if not toc.is_file():
        return all_notebooks()
    stems = sorted(set(PAGE_OF_NOTEBOOK.findall(toc.read_text(encoding="utf-8"))))
    return [root_folder() / "notebooks" / f"{stem}.ipynb" for stem in stems]


def left_out() -> list[str]:
    """A sentence for each notebook that is there and does not belong to the book."""
    stray = set(all_notebooks()) - set(list_notebooks())
    return [f"notebook  {path.stem} is not in book/_toc.yml: left out" for path in sorted(stray)]


def content_hash(paths: Iterable[str]) -> str:
    """SHA-256 over names and contents of files given relative to the root."""
    return sha256(json.dumps({path: sha256(root_folder() / path) for path in sorted(paths)}))
