"""Studies: results that are computed once, stored with a manifest, and found again.

A study consists of cells. A cell is one piece of work: a problem, a number of problems, a group size, seeds. Its
results are a NetCDF file, and a manifest beside it (JSON) says what was computed, by which code, with which bytes
as the outcome. A file counts only together with a manifest that agrees; everything else is computed again.

A study may have variants: the same work with other settings of the problem or other options of joint optimization.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import jax
import pydantic
import xarray as xr
import yaml

from jpo_lib.arithmetic import fingerprint
from jpo_lib.combining import combine, combine_variants
from jpo_lib.problem import check_integer
from jpo_lib.problems import PROBLEMS
from jpo_lib.processors import with_helpers
from jpo_lib.result_files import read_netcdf, rounded_histories, write_netcdf
from jpo_lib.source_identity import hash_of_code
from jpo_lib.storage import PACKAGE, processor, reference_folder, repository_root, sha256, studies_folder, write_atomically

__all__ = ["STUDIES", "Cell", "adopt", "check", "combine", "combine_variants", "load_or_run", "load_profile", "plan", "profiles", "run_cell", "source_hash"]

FORMAT = "jpo-study-1"

# What computes the cells of each kind: a module, whose code and imports decide the numbers, and a function in it,
# (problem, cell) -> (results, seconds of each part).
RUNNERS = {
    "classical": ("jpo_lib.experiments", "run_classical_cell"),
    "joint": ("jpo_lib.experiments", "run_joint_cell"),
    "alignment": ("jpo_lib.experiments_alignment", "run_alignment_cell"),
    "generalization": ("jpo_lib.experiments_generalization", "run_generalization_cell"),
}
VARIED = ("settings", "joint", "classical", "group_sizes")  # what a variant of a study may change


class Cell(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One piece of work of a study, and so one result file."""

    study: str
    problem: str
    settings: dict[str, Any] = {}
    variant: str = ""
    kind: Literal["classical", "joint", "alignment", "generalization"]
    num_problems: int
    data_seed: int
    group_size: int | None = None
    network_seeds: tuple[int, ...] = ()
    options: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """File name below the folder of studies, without its ending; unique by the settings."""
        digest = hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:10]
        size = "" if self.group_size is None else f"-n{self.group_size:05d}"
        variant = f"{self.variant}-" if self.variant else ""
        return f"{self.study}/{variant}{self.kind}{size}-seed{self.data_seed}-{digest}"

    def run(self) -> tuple[xr.Dataset, dict[str, float]]:
        """Compute the results and the seconds that each method took."""
        module, function = RUNNERS[self.kind]
        return getattr(importlib.import_module(module), function)(PROBLEMS[self.problem](**self.settings), self)


def profiles() -> list[str]:
    return sorted(path.stem for path in (PACKAGE / "profiles").glob("*.yaml"))


_parsed = functools.cache(yaml.safe_load)  # one plan reads the same profiles a hundred times


def _read_profile(profile: str) -> dict[str, Any]:
    return copy.deepcopy(_parsed((PACKAGE / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8")))


def load_profile(profile: str) -> dict[str, Any]:
    """The settings of a profile: the amount of work for each study. A mixed profile has those of the profile that it takes for each."""
    if profile not in profiles():
        raise ValueError(f"profile: expected one of {', '.join(profiles())}, got {profile!r}; use one of them.")
    settings = _read_profile(profile)
    if "first_of" not in settings:
        return settings
    names = dict.fromkeys(name for part in settings["first_of"] for name in _read_profile(part))
    taken = {name: _read_profile(source_profile(name, profile)).get(name) for name in names}
    return {name: work for name, work in taken.items() if work is not None}


def source_profile(study: str, profile: str, *, seed: int = 0) -> str:
    """The profile that a profile takes a study from: itself, or for a mixed one the first whose reference results are complete.

    Arguments:
        study: name of a study.
        profile: name of a profile.
        seed: first data seed.
    """
    *preferred, last = _read_profile(profile).get("first_of", [profile])
    for part in preferred:
        cells = plan(study, part, seed=seed)
        if cells and all(check(cell, reference_folder()) == "valid" for cell in cells):
            return part
    return last


STUDIES = sorted({name for profile in profiles() for name, work in _read_profile(profile).items()
                  if isinstance(work, dict) and work.get("problem", name) in PROBLEMS})


def plan(
    study: str, profile: str = "laptop", *, seed: int = 0, num_problems: int | None = None, group_sizes: Sequence[int] | None = None
) -> list[Cell]:
    """The cells of a study; none if the profile leaves this study out, because it would take too long.

    Arguments:
        study: a section of the profiles: a name in `jpo_lib.PROBLEMS`, or a further study of such a problem.
        profile: "smoke", "laptop", "paper" or "published".
        seed: first data seed; further data sets take the next ones.
        num_problems: N, instead of the profile's.
        group_sizes: the values of n, instead of the profile's; each must divide N. A profile may also name multiples of N:
            such a group takes further problems in, which are not reported.
    Raises:
        ValueError: if a name is unknown or a size does not fit.
    """
    if study not in STUDIES:
        raise ValueError(f"study: expected one of {', '.join(STUDIES)}, got {study!r}; use one of them.")
    if profile not in profiles():
        load_profile(profile)  # says what is known
    if num_problems is None and group_sizes is None:
        profile = source_profile(study, profile, seed=seed)
    work = load_profile(profile).get(study)
    if work is None:
        return []
    check_integer("seed", seed, 0)
    count = check_integer("num_problems", work["num_problems"] if num_problems is None else num_problems, 1)
    if group_sizes is None:
        sizes = [n for n in work["group_sizes"] if n <= count or num_problems is None]
    else:
        sizes = [check_integer("group_sizes", n, 1) for n in group_sizes]
    for size in sizes:
        if count % size and (group_sizes is not None or size % count):
            nearest = min((n for n in range(1, count + 1) if count % n == 0), key=lambda n: abs(n - size))
            raise ValueError(f"group_sizes: expected divisors of the {count} problems, got {size}; the nearest is {nearest}.")
    variants = work.get("variants", {"": {}})
    for name, change in variants.items():
        if not set(change) <= set(VARIED):
            raise ValueError(f"{study}: expected a variant that changes {', '.join(VARIED)}, got {sorted(change)} for {name!r}; correct the profile.")
    network_seeds = tuple(range(work["num_network_seeds"]))
    kind = work.get("kind", "joint")
    cells = []
    for data_seed in range(seed, seed + work["num_data_seeds"]):
        for name, change in variants.items():
            options = {part: {**work.get(part, {}), **change.get(part, {})} for part in ("settings", "joint", "classical")}
            common = dict(study=study, problem=work.get("problem", study), settings=options["settings"], num_problems=count, data_seed=data_seed)
            # Variants that leave the problem as it is are compared with the same classical results.
            shared = not ({"settings", "classical"} & set(change))
            classical = Cell(kind="classical", variant="" if shared else name, options=options["classical"], **common)
            if kind == "joint" and classical not in cells:
                cells.append(classical)
            cells += [
                Cell(kind=kind, variant=name, group_size=size, network_seeds=network_seeds, options=options["joint"], **common)
                for size in sorted(set(change.get("group_sizes", sizes) if group_sizes is None else sizes))
            ]
    return cells


def source_hash(problem: str, kind: str = "joint") -> str:
    """Hash of all code of ours that decides the numbers of a problem's cells of a kind, see `source_identity`."""
    family = inspect.unwrap(PROBLEMS[problem])
    return hash_of_code(RUNNERS[kind], (family.__module__, family.__qualname__))


# --- files ----------------------------------------------------------------------------------------------------------


def check(cell: Cell, folder: Path) -> str:
    """State of a cell's files: "valid", "missing", "stale: ...", "damaged: ..." or "foreign: ..."."""
    path, manifest_path = (Path(folder) / f"{cell.name}{ending}" for ending in (".nc", ".json"))
    if not manifest_path.exists():
        return "missing" if not path.exists() else "damaged: the result file has no manifest"
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        known = isinstance(manifest, dict)
    except (ValueError, OSError):
        return "damaged: the manifest cannot be read"
    if not known or manifest.get("format") != FORMAT:
        return f"foreign: the manifest does not say {FORMAT}"
    if manifest.get("cell") != cell.model_dump(mode="json"):
        return "foreign: the manifest describes other settings"
    if not path.exists():
        return "damaged: the result file is missing"
    if manifest.get("sha256") != sha256(path):
        return "damaged: the bytes of the result file differ from its manifest"
    if manifest.get("source_hash") != source_hash(cell.problem, cell.kind):
        return "stale: the code that computes it has changed"
    return "valid"


def adopt(cells: Iterable[Cell], folder: Path) -> int:
    """Copy valid reference results to the places where results are missing. Returns how many."""
    count = 0
    for cell in cells:
        if check(cell, folder) == "missing" and check(cell, reference_folder()) == "valid":
            for ending in (".nc", ".json"):  # the manifest last: without it a result does not count
                source = reference_folder() / f"{cell.name}{ending}"
                write_atomically(Path(folder) / f"{cell.name}{ending}", lambda target: shutil.copyfile(source, target))
            count += 1
    return count


def run_cell(cell: Cell, folder: Path) -> Path:
    """Compute a cell and write its result file, then its manifest. Returns the path of the result file."""
    begin, begin_processor = time.perf_counter(), time.process_time()
    results, seconds = cell.run()
    results = rounded_histories(results)
    results = results.assign_attrs(format=FORMAT, cell=json.dumps(cell.model_dump(mode="json"), sort_keys=True))
    path = Path(folder) / f"{cell.name}.nc"
    write_atomically(path, lambda target: write_netcdf(results, target))
    manifest = {
        "format": FORMAT,
        "cell": cell.model_dump(mode="json"),
        "sha256": sha256(path),
        "source_hash": source_hash(cell.problem, cell.kind),
        "library_version": importlib.metadata.version("jpo-lib"),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        # The time of all processors together is what tells how long others take: on the clock, studies that run at once delay each other.
        "seconds": {"total": round(time.perf_counter() - begin, 3), "processor": round(time.process_time() - begin_processor, 3), **seconds},
        # A build computes several at once, which on an accelerator share it.
        "studies_at_once": int(os.environ.get("JPO_STUDIES_AT_ONCE", "1")),
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "arithmetic": fingerprint(),
        "compiler_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {"python": platform.python_version(), "jax": jax.__version__, **{
            name: importlib.metadata.version(name) for name in ("jaxlib", "numpy", "optax", "equinox", "xarray")}},
    }
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_atomically(path.with_suffix(".json"), lambda target: target.write_text(text, encoding="utf-8"))
    return path


def _load(path: Path) -> xr.Dataset:
    log = os.environ.get("JPO_RESULTS_LOG")
    if log:
        root = repository_root()
        shown = path.resolve().relative_to(root) if root and path.resolve().is_relative_to(root) else Path(path.parent.name, path.name)
        with open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps({"path": shown.as_posix(), "sha256": sha256(path)}) + "\n")
    status = path.stat()
    return _read(path, status.st_size, status.st_mtime_ns).copy()


@functools.lru_cache(maxsize=256)
def _read(path: Path, size: int, changed: int) -> xr.Dataset:
    """The file as it was at this size and time of change. Pages ask for the same results several times; HDF5 is slow to open."""
    return read_netcdf(path)


def load_or_run(cells: Iterable[Cell], folder: Path | None = None, quiet: bool = False) -> dict[str, xr.Dataset]:
    """Load the cells that are there and valid, compute the others, and say which. On a CPU two processes compute them: see `num_processes`.

    Arguments:
        cells: from `plan`.
        folder: of the study files; `studies_folder()` when None. Reference results in results/ of the clone are
            used where the folder has none.
        quiet: print nothing.
    Returns:
        the results by the names of the cells, in their order.
    Raises:
        FileExistsError: if a file of something else stands where a result belongs.
    """
    cells, folder = list(cells), studies_folder() if folder is None else Path(folder)
    states = {}
    for cell in cells:
        state = check(cell, folder)
        if state.startswith("foreign"):
            raise FileExistsError(f"{cell.name}: expected a study of these settings, got a file of something else ({state}); move it away.")
        states[cell.name] = "reference" if state == "missing" and check(cell, reference_folder()) == "valid" else state
    wanted = {cell.model_dump_json(): cell for cell in cells if states[cell.name] not in ("valid", "reference")}

    def say(line: str) -> None:
        if not quiet:
            cell, state = wanted[line], states[wanted[line].name]
            seconds = json.loads((folder / f"{cell.name}.json").read_text(encoding="utf-8"))["seconds"]["total"]
            print(f"computed {cell.name}{'' if state == 'missing' else f' again, since it was {state}'} ({seconds:.1f} s)")

    with_helpers(lambda line: run_cell(wanted[line], folder), list(wanted), [sys.executable, "-m", "jpo_lib.study_helper", str(folder)], say)
    if not quiet:
        print(f"{len(states) - len(wanted)} of {len(states)} result files were there and valid.")
    return {name: _load((reference_folder() if state == "reference" else folder) / f"{name}.nc") for name, state in states.items()}
