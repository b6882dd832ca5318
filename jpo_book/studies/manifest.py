"""Manifests of studies: on which machine a cell was computed, and how long it took."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jpo_book.files import root_folder, studies_folder
from jpo_book.studies.cell import Cell


def this_machine() -> str:
    """Device and number of cores, as the manifests of studies name them."""
    return f"{_device(jax.devices()[0].device_kind, jax.default_backend())}, {os.cpu_count()} cores"


def _device(kind: str, backend: str) -> str:
    return backend.upper() if kind.lower() == backend.lower() else f"{kind} ({backend.upper()})"


def read_manifest(cell: Cell, folder: Path | None = None) -> dict[str, Any]:
    """The manifest of a cell that was computed, in the folder of studies or among the reference results.

    Raises:
        FileNotFoundError: if the cell has not been computed.
    """
    folders = [studies_folder() if folder is None else Path(folder), root_folder() / "results"]
    for place in folders:
        path = place / f"{cell.name}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(
        f"{cell.name}: expected the manifest of a computed study, got none; compute it with studies.load_or_run."
    )


def hardware(manifest: Mapping[str, Any]) -> str:
    """Device and machine on which a study was computed, from its manifest."""
    kind, _, backend = manifest["device"].rstrip(")").partition(" (")
    return f"{_device(kind, backend)}, {manifest['machine']}"
