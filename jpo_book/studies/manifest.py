"""Manifests of studies: on which machine a cell was computed, and how long it took."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jpo_book.files import reference_folder, sealed, studies_folder, write_atomically
from jpo_book.studies.cell import Cell


def this_machine() -> str:
    """Device and number of cores, as the manifests of studies name them."""
    return f"{_device(jax.devices()[0].device_kind, jax.default_backend())}, {os.cpu_count()} cores"


def _device(kind: str, backend: str) -> str:
    return backend.upper() if kind.lower() == backend.lower() else f"{kind} ({backend.upper()})"


def manifest_in(folder: Path, cell: Cell) -> dict[str, Any]:
    """The manifest of a cell in this folder.

    Raises FileNotFoundError where there is none, ValueError if it is no JSON.
    """
    return json.loads((Path(folder) / f"{cell.name}.json").read_text(encoding="utf-8"))


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest; one with a "seal" gets it, by which a later change is told from a foreign file."""
    write_atomically(path, sealed(json.dumps(manifest, indent=1, sort_keys=True) + "\n"))


def read_manifest(cell: Cell, folder: Path | None = None) -> dict[str, Any]:
    """The manifest of a cell that was computed, in the folder of studies or among the reference results.

    Raises:
        FileNotFoundError: if the cell has not been computed.
    """
    for place in (folder or studies_folder(), reference_folder()):
        with contextlib.suppress(FileNotFoundError):
            return manifest_in(place, cell)
    raise FileNotFoundError(
        f"{cell.name}: expected the manifest of a computed study, got none; "
        "compute it with studies.load_or_run."
    )


def hardware(manifest: Mapping[str, Any]) -> str:
    """Device and machine on which a study was computed, from its manifest."""
    kind, _, backend = manifest["device"].rstrip(")").partition(" (")
    return f"{_device(kind, backend)}, {manifest['machine']}"
