"""From what an executed notebook was made, and whether it is still valid. Times of files say nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jpo_book.files import is_sealed, root_folder, sha256, studies_folder
from jpo_book.run import items
from jpo_book.run.sources import content_hash, list_notebooks, notebook_library_sources


def made_from_library() -> str:
    """SHA-256 of the part of the library that notebooks see."""
    return content_hash(notebook_library_sources())


def made_from(notebook: Path) -> dict[str, str]:
    """What a page is made from beside its results: SHA-256 of its notebook and of the library."""
    return {"notebook": sha256(notebook), "library": made_from_library()}


def owner(notebook: Path) -> str | None:
    """The stem of a notebook of the book; None of any other."""
    return notebook.stem if notebook in list_notebooks() else None


def check(page: Path, given: dict[str, Any], library: str) -> str:
    """State of an executed notebook: "valid", or why it has to be made again.

    Arguments:
        page: the executed notebook, which has the name of its source.
        given: the parameters that it has to be made with.
        library: `made_from_library`, now.
    """
    source = root_folder() / "notebooks" / page.name
    try:
        text = page.read_bytes().decode()
        notebook = json.loads(text)
        record = notebook["metadata"]["jpo"]
        made, used, results = record["made_from"], record["given"], record["results"]
        if not is_sealed(text):
            return "it was changed by hand"
    except FileNotFoundError:
        return "it is missing"
    except (OSError, ValueError):
        return "it is damaged"
    except (KeyError, TypeError):
        return "it does not say from what it was made"
    if made["notebook"] != sha256(source):
        return "its notebook has changed"
    if made["library"] != library:
        return "the library has changed"
    if used != given:
        return f"it was made with {used}"
    for entry in results:
        # Outside of the clone a file has no path that pages could name.
        places = (root_folder() / entry["path"], studies_folder() / entry["path"])
        file = next((place for place in places if place.is_file()), None)
        if file is None or sha256(file) != entry["sha256"]:
            return f"{entry['path']} is {'missing' if file is None else 'another one'}"
    lacking = items.missing(notebook, owner(source))
    return f"it is not complete: {lacking[0]}" if lacking else "valid"
