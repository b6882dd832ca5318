"""Studies: results that are computed once, stored with a manifest, and found again.

A study consists of cells. A cell is one piece of work: a problem, a number of problems, a group size, seeds. Its
results are a NetCDF file, and a manifest beside it (JSON) says what was computed, by which code, with which bytes
as the outcome. A file counts only together with a manifest that agrees; everything else is computed again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
import os
import platform
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

from jpo_lib import experiments
from jpo_lib.problem import check_integer
from jpo_lib.problems import PROBLEMS
from jpo_lib.source_identity import hash_of_code

FORMAT = "jpo-study-1"
PACKAGE = Path(__file__).resolve().parent


class Cell(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One piece of work of a study, and so one result file."""

    study: str
    problem: str
    settings: dict[str, Any] = {}
    kind: Literal["classical", "joint"]
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
        return f"{self.study}/{self.kind}{size}-seed{self.data_seed}-{digest}"

    def run(self) -> tuple[xr.Dataset, dict[str, float]]:
        """Compute the results and the seconds that each method took."""
        problem = PROBLEMS[self.problem](**self.settings)
        if self.kind == "classical":
            return experiments.run_classical(problem, self.num_problems, self.data_seed, **self.options)
        return experiments.run_joint_cell(
            problem, self.num_problems, self.data_seed, self.group_size, self.network_seeds, self.options
        )


def profiles() -> list[str]:
    return sorted(path.stem for path in (PACKAGE / "profiles").glob("*.yaml"))


def load_profile(profile: str) -> dict[str, Any]:
    """The settings of a profile: the amount of work for each problem."""
    if profile not in profiles():
        raise ValueError(f"profile: expected one of {', '.join(profiles())}, got {profile!r}; use one of them.")
    return yaml.safe_load((PACKAGE / "profiles" / f"{profile}.yaml").read_text())


STUDIES = sorted({name for profile in profiles() for name, work in load_profile(profile).items() if work.get("problem", name) in PROBLEMS})


def plan(
    study: str, profile: str = "laptop", *, seed: int = 0, num_problems: int | None = None, group_sizes: Sequence[int] | None = None
) -> list[Cell]:
    """The cells of a study; none if the profile leaves this study out, because it would take too long.

    Arguments:
        study: a section of the profiles: a name in `jpo_lib.PROBLEMS`, or a further study of such a problem.
        profile: "smoke", "laptop" or "paper".
        seed: first data seed; further data sets take the next ones.
        num_problems: N, instead of the profile's.
        group_sizes: the values of n, instead of the profile's; each must divide N. A profile may also name multiples of N:
            such a group takes further problems in, which are not reported.
    Raises:
        ValueError: if a name is unknown or a size does not fit.
    """
    if study not in STUDIES:
        raise ValueError(f"study: expected one of {', '.join(STUDIES)}, got {study!r}; use one of them.")
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
    common = dict(study=study, problem=work.get("problem", study), settings=work.get("settings", {}), num_problems=count)
    cells = []
    for data_seed in range(seed, seed + work["num_data_seeds"]):
        cells.append(Cell(kind="classical", data_seed=data_seed, options=work.get("classical", {}), **common))
        cells += [
            Cell(kind="joint", data_seed=data_seed, group_size=size, network_seeds=tuple(range(work["num_network_seeds"])),
                 options=work.get("joint", {}), **common)
            for size in sorted(set(sizes))
        ]
    return cells


def source_hash(problem: str) -> str:
    """Hash of all code of this library that decides the numbers of a problem's study. Comments do not count."""
    return hash_of_code("jpo_lib.experiments", inspect.unwrap(PROBLEMS[problem]).__module__)


# --- files ----------------------------------------------------------------------------------------------------------


def repository_root() -> Path | None:
    """The clone that this package is imported from, if it is one."""
    root = PACKAGE.parent
    return root if (root / "notebooks").is_dir() and (root / "pyproject.toml").is_file() else None


def studies_folder() -> Path:
    """Where studies are kept: $JPO_STUDIES, else _build/studies of the clone, else of the working folder."""
    if os.environ.get("JPO_STUDIES"):
        return Path(os.environ["JPO_STUDIES"])
    return (repository_root() or Path.cwd()) / "_build" / "studies"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    if manifest.get("sha256") != _sha256(path):
        return "damaged: the bytes of the result file differ from its manifest"
    if manifest.get("source_hash") != source_hash(cell.problem):
        return "stale: the code that computes it has changed"
    return "valid"


def _write_atomically(path: Path, write) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def run_cell(cell: Cell, folder: Path) -> Path:
    """Compute a cell and write its result file, then its manifest. Returns the path of the result file."""
    begin = time.perf_counter()
    results, seconds = cell.run()
    results = results.assign_attrs(format=FORMAT, cell=json.dumps(cell.model_dump(mode="json"), sort_keys=True))
    path = Path(folder) / f"{cell.name}.nc"
    encoding = {
        name: {"zlib": True, "complevel": 4} for name, variable in results.variables.items() if variable.size > 1000 and variable.dtype.kind in "fiu"
    }
    _write_atomically(path, lambda target: results.to_netcdf(target, engine="h5netcdf", encoding=encoding))
    manifest = {
        "format": FORMAT,
        "cell": cell.model_dump(mode="json"),
        "sha256": _sha256(path),
        "source_hash": source_hash(cell.problem),
        "library_version": importlib.metadata.version("jpo-lib"),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": {"total": round(time.perf_counter() - begin, 3), **seconds},
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "jax": jax.__version__, **{
            name: importlib.metadata.version(name) for name in ("jaxlib", "numpy", "optax", "equinox", "xarray")}},
    }
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    _write_atomically(path.with_suffix(".json"), lambda target: target.write_text(text, encoding="utf-8"))
    return path


def _load(path: Path) -> xr.Dataset:
    log = os.environ.get("JPO_RESULTS_LOG")
    if log:
        root = repository_root()
        shown = path.resolve().relative_to(root) if root and path.resolve().is_relative_to(root) else Path(path.parent.name, path.name)
        with open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps({"path": shown.as_posix(), "sha256": _sha256(path)}) + "\n")
    with xr.open_dataset(path, engine="h5netcdf") as results:
        return results.load()


def load_or_run(cells: Iterable[Cell], folder: Path | None = None, quiet: bool = False) -> dict[str, xr.Dataset]:
    """Load the cells that are there and valid, compute the others, and say which.

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
    folder = studies_folder() if folder is None else Path(folder)
    reference = (repository_root() or Path.cwd()) / "results"
    loaded, counts = {}, {}
    for cell in cells:
        state = check(cell, folder)
        source = folder
        if state == "missing" and check(cell, reference) == "valid":
            state, source = "valid", reference
        word = state.partition(":")[0]
        if word == "foreign":
            raise FileExistsError(f"{cell.name}: expected a study of these settings, got a file of something else ({state}); move it away.")
        if word != "valid":
            begin = time.perf_counter()
            run_cell(cell, folder)
            if not quiet:
                reason = "" if word == "missing" else f" again, since it was {state}"
                print(f"computed {cell.name}{reason} ({time.perf_counter() - begin:.1f} s)", file=sys.stderr if quiet else sys.stdout)
        counts[word] = counts.get(word, 0) + 1
        loaded[cell.name] = _load(source / f"{cell.name}.nc")
    if not quiet:
        print(f"{counts.get('valid', 0)} of {len(loaded)} result files were there and valid.")
    return loaded


def combine(cells: Sequence[Cell], loaded: dict[str, xr.Dataset]) -> tuple[xr.Dataset, xr.Dataset]:
    """The study as two data sets: classical solvers (data_seed, solver, problem, ...), and joint optimization
    (data_seed, group_size, solver, network_seed, problem, ...)."""

    def joined(kind: str, data_seed: int) -> xr.Dataset:
        chosen = [c for c in cells if c.kind == kind and c.data_seed == data_seed]
        parts = [loaded[c.name] for c in chosen]
        if kind == "classical":
            return parts[0]
        return xr.concat([_filled(p, parts) for p in parts], xr.DataArray([c.group_size for c in chosen], dims="group_size", name="group_size"),
                         data_vars="all", coords="minimal", compat="override", join="outer")

    data_seeds = sorted({c.data_seed for c in cells})
    axis = xr.DataArray(data_seeds, dims="data_seed", name="data_seed")
    result = []
    for kind in ("classical", "joint"):
        parts = [joined(kind, s) for s in data_seeds]
        result.append(xr.concat([_filled(p, parts) for p in parts], axis, data_vars="all", coords="minimal", compat="override", join="outer"))
    return result[0], result[1]


def _filled(part: xr.Dataset, parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put a part on the evaluation numbers of all parts; between recorded numbers the best loss stays."""
    evaluations = sorted(set().union(*(p.evaluation.values.tolist() for p in parts)))
    return part.reindex(evaluation=evaluations, method="ffill")
