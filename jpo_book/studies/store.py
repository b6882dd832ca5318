"""Studies: results that are computed once, stored with a manifest, and found again.

A study consists of cells. A cell is one piece of work: a problem, a number of problems, a group size, seeds.
Its results are a NetCDF file, and a manifest beside it (JSON) says what was computed, by which code, with
which bytes as the outcome. A file counts only together with a manifest that agrees;
everything else is computed again.

A study may have variants: the same work with other settings of the problem
or other options of joint optimization.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import jax
import xarray as xr

from jpo_book import files
from jpo_book.files import reference_folder, sha256, studies_folder, write_atomically
from jpo_book.hermetic import NUMERICS, foreign_flags, numerics
from jpo_book.studies.arithmetic import fingerprint
from jpo_book.studies.cell import FORMAT, Cell, source_hash
from jpo_book.studies.manifest import manifest_in, write_manifest
from jpo_book.studies.netcdf import read_netcdf, rounded_histories, write_netcdf
from jpo_book.studies.pool import share

__all__ = ["adopt", "check", "load_or_run", "run_cell"]

VERSIONS = ("jax", "jaxlib", "numpy", "optax", "equinox", "xarray")


def check(cell: Cell, folder: Path) -> str:
    """State of a cell's files: "valid", "missing", "stale: ...", "damaged: ..." or "foreign: ..."."""
    path = Path(folder) / f"{cell.name}.nc"
    try:
        manifest = manifest_in(folder, cell)
    except (FileNotFoundError, NotADirectoryError):
        return "damaged: the result file has no manifest" if path.exists() else "missing"
    except (ValueError, OSError):
        return "damaged: the manifest cannot be read"
    described = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    if not described or manifest.get("cell") != cell.model_dump(mode="json"):
        text = path.with_suffix(".json").read_text(encoding="utf-8")
        if '"seal"' in text and not files.is_sealed(text):  # ours, but spoilt since
            return "damaged: the manifest was changed"
        what = "describes other settings" if described else f"does not say {FORMAT}"
        return f"foreign: the manifest {what}"
    if not path.exists():
        return "damaged: the result file is missing"
    if manifest.get("sha256") != sha256(path):
        return "damaged: the bytes of the result file differ from its manifest"
    if manifest.get("numerics") != NUMERICS:
        return "stale: it was not computed under the settings of JAX that the book uses"
    if foreign := foreign_flags(manifest.get("compiler_flags", "")):
        return f"stale: it was computed with the compiler flags {' '.join(foreign)}"
    if manifest.get("source_hash") != source_hash(cell.problem, cell.kind):
        return "stale: the code that computes it has changed"
    return "valid"


def adopt(cells: Iterable[Cell], folder: Path) -> int:
    """Copy valid reference results to the places where results are missing. Returns how many."""
    count = 0
    for cell in cells:
        if check(cell, folder) == "missing" and check(cell, reference_folder()) == "valid":
            for ending in (".nc", ".json"):  # the manifest last: without it a result does not count
                name = f"{cell.name}{ending}"
                write_atomically(Path(folder) / name, (reference_folder() / name).read_bytes())
            count += 1
    return count


def run_cell(cell: Cell, folder: Path) -> Path:
    """Compute a cell and write its result file, then its manifest. Returns the path of the result file."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    with numerics():
        results, seconds = cell.run()
        arithmetic = fingerprint()
    described = cell.model_dump(mode="json")
    attributes = {"format": FORMAT, "cell": json.dumps(described, sort_keys=True)}
    results = rounded_histories(results).assign_attrs(attributes)
    path = Path(folder) / f"{cell.name}.nc"
    write_atomically(path, lambda target: write_netcdf(results, target))
    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    # The CPU time of all cores together is what tells how long others take: on the clock, studies that run at
    # once delay each other.
    clock, processor = time.perf_counter() - begin, time.process_time() - begin_cpu
    manifest = {
        "format": FORMAT,
        "cell": described,
        "sha256": sha256(path),
        "source_hash": source_hash(cell.problem, cell.kind),
        "library_version": importlib.metadata.version("jpo-lib"),
        "seal": files.BLANK,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {"total": round(clock, 3), "processor": round(processor, 3), **seconds},
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "machine": f"{files.cpu_model()}, {os.cpu_count()} cores",
        "arithmetic": arithmetic,
        "numerics": NUMERICS,
        "compiler_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": versions | {"python": platform.python_version()},
    }
    write_manifest(path.with_suffix(".json"), manifest)
    return path


def _load(path: Path) -> xr.Dataset:
    if log := os.environ.get("JPO_RESULTS_LOG"):
        shown = files.name_of(path, otherwise=Path(path.parent.name, path.name))
        with open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps({"path": shown, "sha256": sha256(path)}) + "\n")
    status = path.stat()
    return _read(path, status.st_size, status.st_mtime_ns).copy()


@functools.lru_cache(maxsize=256)
def _read(path: Path, size: int, changed: int) -> xr.Dataset:
    """The file as it was at this size and time of change. Pages ask for the same results several times; HDF5
    is slow to open."""
    return read_netcdf(path)


def load_or_run(
    cells: Iterable[Cell], folder: Path | None = None, quiet: bool = False
) -> dict[str, xr.Dataset]:
    """Load the cells that are there and valid, compute the others, and say which.

    On a CPU two processes compute them: see `num_processes`.

    Arguments:
        cells: from `plan`.
        folder: of the study files; `studies_folder()` when None. Reference results in results/ of the clone
            are used where the folder has none.
        quiet: print nothing.
    Returns:
        the results by the names of the cells, in their order.
    Raises:
        FileExistsError: if a file of something else stands where a result belongs.
    """
    folder = studies_folder() if folder is None else Path(folder)
    states, wanted = {}, {}
    for cell in cells:
        state = check(cell, folder)
        if state.startswith("foreign"):
            got = f"a file of something else ({state})"
            expected = "a study of these settings"
            raise FileExistsError(f"{cell.name}: expected {expected}, got {got}; move it away.")
        if state == "missing" and check(cell, reference_folder()) == "valid":
            state = "reference"
        elif state != "valid":
            wanted[cell.name] = cell
        states[cell.name] = state

    told, finished, one_at_a_time = deque(wanted.values()), set(), threading.Lock()

    def say(cell: Cell) -> None:
        """In the order of the cells, so that pages are the same whatever is ready first."""
        with one_at_a_time:
            finished.add(cell.name)
            while not quiet and told and told[0].name in finished:
                cell = told.popleft()
                state, seconds = states[cell.name], manifest_in(folder, cell)["seconds"]["total"]
                again = "" if state == "missing" else f" again, since it was {state}"
                print(f"computed {cell.name}{again} ({seconds:.1f} s)")

    share(functools.partial(run_cell, folder=folder), list(wanted.values()), say)
    if not quiet:
        print(f"{len(states) - len(wanted)} of {len(states)} result files were there and valid.")
    return {
        name: _load((reference_folder() if state == "reference" else folder) / f"{name}.nc")
        for name, state in states.items()
    }
