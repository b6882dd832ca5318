"""What the companion owes, and what of it is built: the ledger and the pages made from it.

The registry `items.yaml` names 25 figures, 5 tables, 4 theorems and 5 claims. This module looks
for each of them in the executed notebooks (`book/_executed`), in the proofs (`book/proofs.md`) and
in the verdicts of `jpo_book.analysis.claims`, and writes

- `_build/ledger.json`, for programs, and
- `book/_generated/*.md`, fragments that the pages of the book include.

Nothing here depends on the clock or on the order of files, so the same inputs give the same bytes.
"""

from __future__ import annotations

import base64
import importlib
import json
import re
from pathlib import Path
from string import Template
from typing import Any, Callable

import yaml

from jpo_book.files import write_if_changed
from jpo_book.names import EXPERIMENTS
from jpo_book.pages import ledger_pages

ITEMS_FILE = Path(__file__).with_name("items.yaml")
KINDS = {"figures": "figure", "tables": "table", "theorems": "theorem", "claims": "claim"}
VERDICTS = ("reproduced", "partly", "not reproduced", "out of budget", "planned")
LABEL_OPTION = re.compile(r"^\s*:(?:name|label):\s*([A-Za-z0-9_-]+)\s*$", re.MULTILINE)
THEOREM_OPTION = re.compile(r"^\s*(?::label:|label:)\s*([A-Za-z0-9_-]+)\s*$", re.MULTILINE)
IMAGE_TYPES = {
    "image/png": "png",
    "image/svg+xml": "svg",
}  # for the gallery: figures carry a small PNG beside their SVG

Verdicts = Callable[[Path], list[dict[str, Any]]]


def load_items(path: Path | str = ITEMS_FILE) -> list[dict[str, Any]]:
    """The registry as one flat list, in the order figures, tables, theorems, claims.

    path: the YAML file. Raises ValueError when an item lacks its id, label, title or notebook.
    """
    titles = {name: experiment.title for name, experiment in EXPERIMENTS.items()}
    titles |= {name.capitalize(): title[0].upper() + title[1:] for name, title in titles.items()}
    text = Template(Path(path).read_text(encoding="utf-8")).substitute(titles)
    groups = yaml.safe_load(text)
    items = []
    for group, kind in KINDS.items():
        for item in groups.get(group, []):
            missing = {"id", "label", "title", "notebook"} - set(item)
            if missing:
                raise ValueError(
                    f"Expected id, label, title and notebook for every item of {path}, "
                    f"got {item} without {sorted(missing)}; add what is missing."
                )
            items.append({**item, "kind": kind})
    return items


def build_ledger(root: Path | str, verdicts: Verdicts | None = None) -> dict[str, list[dict[str, Any]]]:
    """The state of all items of the companion, as plain data.

    root: folder of the repository.
    verdicts: function of the root that gives the claims' verdicts; by default
        `jpo_book.analysis.claims.verdicts`. Claims without a verdict count as planned.

    Returns {"items": [...]} with the keys id, kind, status ("built" or "planned"), title, page and
    anchor (relative to the book's HTML folder; None while planned), data (the download of a built figure
    or table), notebook, parameters, results (path and sha256 of each file) and for claims also verdict, effect, interval, words, rule, note,
    by_experiment, fair_baseline and text. Raises ValueError for a damaged notebook or an unknown verdict.
    """
    root = Path(root)
    scans = scan_notebooks(root)
    theorems = _theorem_labels(root)
    found = {str(v["id"]): v for v in _verdicts(root, verdicts)}
    entries = []
    for item in load_items():
        scan = scans.get(item["notebook"])
        entry: dict[str, Any] = {
            "id": item["id"],
            "kind": item["kind"],
            "status": "planned",
            "title": item["title"],
            "page": None,
            "anchor": None,
            "notebook": f"notebooks/{item['notebook']}.ipynb",
            "parameters": {},
            "results": [],
        }
        if item["kind"] in ("figure", "table"):
            # The page that holds the label decides, not the registry: notebooks may be regrouped.
            holder = next((stem for stem, s in scans.items() if item["label"] in s["labels"]), None)
            if holder is not None:
                scan = scans[holder]
                entry.update(
                    status="built",
                    page=f"_executed/{holder}.html",
                    anchor=item["label"],
                    notebook=f"notebooks/{holder}.ipynb",
                    data=f"_data/{item['label']}.csv",
                )
        elif item["kind"] == "theorem" and item["label"] in theorems:
            entry.update(status="built", page="proofs.html", anchor=item["label"])
        if item["kind"] == "claim":
            entry.update(_claim_fields(item, found.get(item["id"])))
            scan = scan if entry["status"] == "built" else None
        if entry["status"] == "built" and scan is not None:
            entry["parameters"] = scan["parameters"]
            entry["results"] = entry["results"] or scan["results"]
        entries.append(entry)
    return {"items": entries}


def write_ledger(root: Path | str, verdicts: Verdicts | None = None) -> Path:
    """Write `_build/ledger.json` and the fragments in `book/_generated`; return the JSON's path.

    root: folder of the repository. verdicts: as in `build_ledger`. Files that would not change
    are left alone, so that a build without news stays a build without work.
    """
    root = Path(root)
    ledger = build_ledger(root, verdicts)
    target = root / "_build" / "ledger.json"
    write_if_changed(target, json.dumps(ledger, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_fragments(root, ledger)
    return target


def write_fragments(root: Path, ledger: dict[str, Any]) -> None:
    """Write the fragments in `book/_generated` that follow from a ledger and from the pictures of the notebooks."""
    generated = root / "book" / "_generated"
    images = _write_images(root, generated / "figures")
    for name, text in ledger_pages.fragments(ledger, images).items():
        write_if_changed(generated / name, text)


def scan_notebooks(root: Path) -> dict[str, dict[str, Any]]:
    """What the executed notebooks of the book hold, by stem: labels, parameters, result files."""
    pages = _toc_pages(root)
    scans = {}
    for path in sorted((root / "book" / "_executed").glob("*.ipynb")):
        if pages is None or f"_executed/{path.stem}" in pages:
            scans[path.stem] = _scan_notebook(path)
    return scans


def _scan_notebook(path: Path) -> dict[str, Any]:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells, metadata = notebook["cells"], notebook.get("metadata", {})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected an executed notebook in {path.name}, got a file that cannot be read ({error}); "
            f"delete it and run the notebook again."
        ) from error
    labels: dict[str, dict[str, Any]] = {}
    for cell in cells:
        outputs = cell.get("outputs", [])
        mystnb = cell.get("metadata", {}).get("mystnb", {})
        figure = mystnb.get("figure") or {}
        image = next((o["data"] for o in outputs if IMAGE_TYPES.keys() & o.get("data", {}).keys()), None)
        # A figure that is labelled but left no picture is not built.
        if figure.get("name") and image is not None:
            labels[figure["name"]] = {"image": image, "alt": (mystnb.get("image") or {}).get("alt", "")}
        texts = (
            [cell.get("source", "")]
            if cell.get("cell_type") == "markdown"
            else [o["data"]["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]
        )
        for text in texts:
            for label in LABEL_OPTION.findall(_joined(text)):
                labels.setdefault(label, {"image": None, "alt": ""})
    own = metadata.get("jpo", {})
    parameters = own.get("parameters") or metadata.get("papermill", {}).get("parameters") or {}
    results = sorted(
        ({"path": r["path"], "sha256": r["sha256"]} for r in own.get("results", [])), key=lambda r: r["path"]
    )
    return {"labels": labels, "parameters": parameters, "results": results}


def _claim_fields(item: dict[str, Any], verdict: dict[str, Any] | None) -> dict[str, Any]:
    given = verdict or {}
    word = given.get("verdict", "planned")
    if word not in VERDICTS:
        raise ValueError(
            f"Expected a verdict out of {', '.join(VERDICTS)} for {item['id']}, got {word!r}; "
            f"correct it in jpo_book/analysis/claims.py."
        )
    return {
        "status": "planned" if word == "planned" else "built",
        "page": "claims.html",
        "anchor": item["label"],
        "results": sorted(
            ({"path": r["path"], "sha256": r["sha256"]} for r in given.get("results") or []),
            key=lambda r: r["path"],
        ),
        "verdict": word,
        "effect": given.get("effect"),
        "interval": given.get("interval"),
        "rule": given.get("rule") or item.get("rule"),
        "fair_baseline": given.get("fair_baseline"),
        "words": given.get("words"),
        "note": given.get("note"),
        "by_experiment": given.get("by_experiment"),
        "text": given.get("text") or item["text"],
        "notebooks": item.get("notebooks", [item["notebook"]]),
    }


def _verdicts(root: Path, verdicts: Verdicts | None) -> list[dict[str, Any]]:
    if verdicts is None:
        try:
            verdicts = importlib.import_module("jpo_book.analysis.claims").verdicts
        except ModuleNotFoundError as error:
            if error.name != "jpo_book.analysis.claims":  # a claims module that fails to import must be seen
                raise
            return []
    return list(verdicts(root))


def _theorem_labels(root: Path) -> set[str]:
    proofs = root / "book" / "proofs.md"
    return set(THEOREM_OPTION.findall(proofs.read_text(encoding="utf-8"))) if proofs.is_file() else set()


def _toc_pages(root: Path) -> set[str] | None:
    """Names of the pages in the table of contents; None when there is no such file."""
    toc = root / "book" / "_toc.yml"
    if not toc.is_file():
        return None

    def walk(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(walk, node))
        if isinstance(node, dict):
            own = {str(node[key]).removesuffix(".ipynb") for key in ("file", "root") if key in node}
            return own.union(*(walk(value) for value in node.values()))
        return set()

    return walk(yaml.safe_load(toc.read_text(encoding="utf-8")))


def _write_images(root: Path, folder: Path) -> dict[str, dict[str, str]]:
    """Copy the figures' pictures out of the notebooks for the gallery: {label: {file, alt}}."""
    images = {}
    for scan in scan_notebooks(root).values():
        for label, found in scan["labels"].items():
            if found["image"] is None:
                continue
            mime = next(m for m in IMAGE_TYPES if m in found["image"])
            data = _joined(found["image"][mime])
            name = f"{label}.{IMAGE_TYPES[mime]}"
            write_if_changed(folder / name, data if mime == "image/svg+xml" else base64.b64decode(data))
            images[label] = {"file": f"_generated/figures/{name}", "alt": found["alt"]}
    kept = {Path(image["file"]).name for image in images.values()}
    for old in folder.glob("figure-*"):
        if old.name not in kept:
            old.unlink()
    return images


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
