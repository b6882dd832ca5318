"""What the companion owes, and what of it an executed notebook holds.

The registry `items.yaml` names 25 figures, 5 tables, 5 theorems and 5 claims. A page that lacks one of its
own, or a picture for a cell that is labelled as a figure, is not complete.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

from jpo_book.names import EXPERIMENTS

ITEMS_FILE = Path(__file__).with_name("items.yaml")
KINDS = {"figures": "figure", "tables": "table", "theorems": "theorem", "claims": "claim"}
LABEL_OPTION = re.compile(r"^\s*:(?:name|label):\s*([A-Za-z0-9_-]+)\s*$", re.MULTILINE)
# For the gallery: figures carry a small PNG beside their SVG.
IMAGE_TYPES = {"image/png": "png", "image/svg+xml": "svg"}


@functools.cache
def load_items() -> list[dict[str, Any]]:
    """The registry as one flat list, in the order figures, tables, theorems, claims.

    Raises ValueError when an item lacks its id, label, title or notebook.
    """
    titles = {name: experiment.title for name, experiment in EXPERIMENTS.items()}
    titles |= {name.capitalize(): title[0].upper() + title[1:] for name, title in titles.items()}
    groups = yaml.safe_load(Template(ITEMS_FILE.read_text(encoding="utf-8")).substitute(titles))
    items = [{**item, "kind": kind} for group, kind in KINDS.items() for item in groups.get(group, [])]
    for item in items:
        missing = {"id", "label", "title", "notebook"} - set(item)
        if missing:
            got = f"{item} without {sorted(missing)}"
            raise ValueError(f"Expected id, label, title and notebook for every item, got {got}; add them.")
    return items


def figure_label(cell: Mapping[str, Any]) -> str | None:
    """The label under which a code cell promises a picture, if it does."""
    return (cell.get("metadata", {}).get("mystnb", {}).get("figure") or {}).get("name")


def labels(notebook: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures and tables that an executed notebook holds: {label: {"image": data or None, "alt": text}}.

    notebook: as `json` or `nbformat` reads it.
    """
    found: dict[str, dict[str, Any]] = {}
    for cell in notebook["cells"]:
        shown = [output.get("data", {}) for output in cell.get("outputs", [])]
        image = next((data for data in shown if IMAGE_TYPES.keys() & data.keys()), None)
        # A figure that is labelled but left no picture is not built.
        if (name := figure_label(cell)) and image is not None:
            alt = (cell["metadata"]["mystnb"].get("image") or {}).get("alt", "")
            found[name] = {"image": image, "alt": alt}
        source = cell.get("source", "") if cell.get("cell_type") == "markdown" else ""
        for written in [source, *(data.get("text/markdown", "") for data in shown)]:
            for label in LABEL_OPTION.findall("".join(written)):
                found.setdefault(label, {"image": None, "alt": ""})
    return found


def missing(notebook: Mapping[str, Any], stem: str | None = None) -> list[str]:
    """What an executed notebook promises and does not hold, as phrases; empty where it is complete.

    notebook: as for `labels`.
    stem: of a notebook of the book, whose items of the registry count, too.
    """
    found = labels(notebook)
    pictures = [name for name in map(figure_label, notebook["cells"]) if name]
    lacking = [f"{name} has no picture" for name in pictures if not found.get(name, {}).get("image")]
    owed = [i["label"] for i in load_items() if i["notebook"] == stem and i["kind"] in ("figure", "table")]
    return lacking + [f"{label} is nowhere" for label in owed if label not in (*found, *pictures)]
