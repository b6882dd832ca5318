"""What the companion owes, and what of it is built: the ledger and the pages made from it.

The registry `run/items.yaml` names 25 figures, 5 tables, 5 theorems and 5 claims. This module looks
for each of them in the executed notebooks (`book/_executed`), in the proofs (`book/proofs.md`) and
in the verdicts of `jpo_book.analysis.claims`, and writes

- `_build/ledger.json`, for programs, and
- `book/_generated/*.md`, fragments that the pages of the book include.

Nothing here depends on the clock or on the order of files, so the same inputs give the same bytes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jpo_book.figures.forest import forest_svg
from jpo_book.files import write_if_changed
from jpo_book.pages import ledger_pages, run_time
from jpo_book.run.items import IMAGE_TYPES, labels, load_items

VERDICTS = ("reproduced", "partly", "not reproduced", "out of budget", "planned")
THEOREM_OPTION = re.compile(r"^\s*(?::label:|label:)\s*([A-Za-z0-9_-]+)\s*$", re.MULTILINE)
TOC_ENTRY = re.compile(r"^[\s-]*(?:file|root):\s*(\S+?)(?:\.ipynb)?\s*$", re.MULTILINE)
# What a verdict says about its claim, beside the word and the files.
FINDINGS = ("effect", "interval", "fair_baseline", "words", "note", "by_experiment", "alternatives")

Verdicts = Callable[[Path], list[dict[str, Any]]]


def build_ledger(root: Path | str, verdicts: Verdicts | None = None) -> dict[str, list[dict[str, Any]]]:
    """The state of all items of the companion, as plain data.

    root: folder of the repository.
    verdicts: function of the root that gives the claims' verdicts; by default
        `jpo_book.analysis.claims.verdicts`. Claims without a verdict count as planned.

    Returns {"items": [...]} with the keys id, kind, status ("built" or "planned"), title, page and
    anchor (relative to the book's HTML folder; None while planned), data (the download of a built figure
    or table), notebook, parameters, results (path and sha256 of each file) and for claims also verdict,
    effect, interval, words, rule, note, by_experiment, fair_baseline and text. Raises ValueError for a
    damaged notebook or an unknown verdict.
    """
    root = Path(root)
    if verdicts is None:
        from jpo_book.analysis.claims import verdicts
    scans = scan_notebooks(root)
    proofs = root / "book" / "proofs.md"
    theorems = THEOREM_OPTION.findall(proofs.read_text(encoding="utf-8")) if proofs.is_file() else []
    found = {str(verdict["id"]): verdict for verdict in verdicts(root)}
    entries = []
    for item in load_items():
        label, stem = item["label"], item["notebook"]
        entry: dict[str, Any] = {"id": item["id"], "kind": item["kind"], "status": "planned"}
        entry |= {"title": item["title"], "page": None, "anchor": None}
        entry |= {"notebook": f"notebooks/{stem}.ipynb", "parameters": {}, "results": []}
        # The page that holds the label decides, not the registry: notebooks may be regrouped.
        holder = next((name for name, scan in scans.items() if label in scan["labels"]), None)
        if item["kind"] == "claim":
            entry |= _claim_fields(item, found.get(item["id"], {}))
        elif item["kind"] == "theorem" and label in theorems:
            entry |= {"status": "built", "page": "proofs.html", "anchor": label}
        elif item["kind"] in ("figure", "table") and holder is not None:
            stem = holder
            entry |= {"status": "built", "page": f"_executed/{stem}.html", "anchor": label}
            entry |= {"notebook": f"notebooks/{stem}.ipynb", "data": f"_data/{label}.csv"}
        if entry["status"] == "built" and stem in scans:
            entry["parameters"] = scans[stem]["parameters"]
            entry["results"] = entry["results"] or scans[stem]["results"]
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
    """Write the fragments in `book/_generated` that follow from a ledger, from the pictures of the notebooks
    and from the manifests of the reference results."""
    generated = root / "book" / "_generated"
    images = _write_images(root, generated / "figures")
    # That of C1 has all experiments.
    alternatives = next((item.get("alternatives") for item in ledger["items"] if item["id"] == "C1"), None)
    if alternatives:
        write_if_changed(generated / "figures" / "forest.svg", forest_svg(alternatives))
    texts = {**ledger_pages.fragments(ledger, images), "run_time.md": run_time.time_of_profile()}
    for name, text in texts.items():
        write_if_changed(generated / name, text)


def scan_notebooks(root: Path) -> dict[str, dict[str, Any]]:
    """What the executed notebooks of the book hold, by stem: labels, parameters, result files."""
    toc = root / "book" / "_toc.yml"
    pages = TOC_ENTRY.findall(toc.read_text(encoding="utf-8")) if toc.is_file() else None
    return {
        path.stem: _scan_notebook(path)
        for path in sorted((root / "book" / "_executed").glob("*.ipynb"))
        if pages is None or f"_executed/{path.stem}" in pages
    }


def _scan_notebook(path: Path) -> dict[str, Any]:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        found, metadata = labels(notebook), notebook.get("metadata", {})
    except (ValueError, KeyError, TypeError) as error:
        got = f"a file that cannot be read ({error}); delete it and run the notebook again."
        raise ValueError(f"Expected an executed notebook in {path.name}, got {got}") from error
    own = metadata.get("jpo", {})
    results = _files(own.get("results", []))
    return {"labels": found, "parameters": own.get("parameters") or {}, "results": results}


def _files(results: list[dict[str, str]] | None) -> list[dict[str, str]]:
    files = ({"path": file["path"], "sha256": file["sha256"]} for file in results or [])
    return sorted(files, key=lambda file: file["path"])


def _claim_fields(item: dict[str, Any], verdict: dict[str, Any]) -> dict[str, Any]:
    word = verdict.get("verdict", "planned")
    if word not in VERDICTS:
        expected = f"a verdict out of {', '.join(VERDICTS)} for {item['id']}"
        raise ValueError(f"Expected {expected}, got {word!r}; correct it in jpo_book/analysis/claims.py.")
    return {
        "status": "planned" if word == "planned" else "built",
        "page": "claims.html",
        "anchor": item["label"],
        "results": _files(verdict.get("results")),
        "verdict": word,
        **{name: verdict.get(name) for name in FINDINGS},
        "rule": verdict.get("rule") or item.get("rule"),
        "text": item["text"],
        "notebooks": item.get("notebooks", [item["notebook"]]),
    }


def _write_images(root: Path, folder: Path) -> dict[str, dict[str, str]]:
    """Copy the figures' pictures out of the notebooks for the gallery: {label: {file, alt}}."""
    images = {}
    for label, found in (pair for scan in scan_notebooks(root).values() for pair in scan["labels"].items()):
        kind = next((kind for kind in IMAGE_TYPES if kind in (found["image"] or {})), None)
        if kind is None:
            continue
        data = "".join(found["image"][kind])
        name = f"{label}.{IMAGE_TYPES[kind]}"
        write_if_changed(folder / name, data if kind == "image/svg+xml" else base64.b64decode(data))
        images[label] = {"file": f"_generated/figures/{name}", "alt": found["alt"]}
    kept = {Path(image["file"]).name for image in images.values()}
    for old in folder.glob("figure-*"):
        if old.name not in kept:
            old.unlink()
    return images
