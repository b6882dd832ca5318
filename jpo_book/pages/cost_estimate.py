"""What the studies of a profile will cost, estimated from the times of those that have been computed.

The time of a cell is split into its start (above all compilation), the training of networks, and the solution of single
problems. The latter two grow with the work:

    seconds = start + rate_training * work_training + rate_solving * work_solving,

where work is the number of evaluations that are planned at most, times the size of one simulation. The rates come from
cells of the same problem and kind that were computed on the same hardware, if possible with simulations of the same size, and
start is the median of theirs. Their times are in the manifests of studies and in results/timings, which keeps those of
further studies. Where there is none, a benchmark of one evaluation gives both rates: too much, since many runs end
before their budget, but without the time of the networks themselves.

On processors, the seconds of a computed cell are its processor time over their number: a build keeps all of them busy, and on
the clock studies that run at once delay each other. Manifests without a processor time give the clock's, which is never less.
On an accelerator they are those of the clock over the number of studies that shared it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jpo_book import studies
from jpo_book.files import reference_folder, studies_folder, write_atomically
from jpo_book.pages.benchmarks import largest_evaluations, of_processors, read_benchmarks
from jpo_book.studies.manifest import cores_of, hardware
from jpo_book.studies.run_solvers import CLASSICAL_METHODS
from jpo_lib.problems import PROBLEMS
from jpo_lib.solvers import BFGS, Adam, GradientDescent, JointOptimization, MultiStart

FORMAT = "jpo-times-1"
PARTS = ("training", "solving")
MEASURED, SCALED, BENCHMARK, UNKNOWN = (
    "computed",
    "scaled",
    "benchmark",
    "unknown",
)  # what the time of a cell rests on
# How long one simulation takes, up to a factor for each problem. Time steps of the flow grow with its grid.
SIZES = {
    "wave_packet": lambda s: s["num_points"],
    "billiards": lambda s: s["max_events"] * len(s["positions"]) ** 2,
    "kuramoto_sivashinsky": lambda s: s["num_points"] * s["horizon"] / s["dt"] * (2 if s["float64"] else 1),
    "navier_stokes": lambda s: s["num_points"] ** 3 * s["horizon"],
}


# --- how much work ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def family_of(problem: str, settings: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings, recommended hyperparameters) of a problem. A flow is not built: that takes seconds, and its settings are its arguments."""
    given = json.loads(settings)
    if problem == "navier_stokes":
        arguments = {name: p.default for name, p in inspect.signature(PROBLEMS[problem]).parameters.items()}
        return {**arguments, **given}, dict(_small_flow().defaults)
    built = PROBLEMS[problem](**given)
    return dict(built.settings), dict(built.defaults)


@functools.lru_cache(maxsize=1)
def _small_flow():
    return PROBLEMS["navier_stokes"](num_points=24, horizon=0.1)


def family(cell: studies.Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and recommended hyperparameters of the problem of a cell."""
    return family_of(cell.problem, json.dumps(cell.settings, sort_keys=True))


def planned_work(cell: studies.Cell) -> dict[str, float]:
    """w = evaluations at most * size of a simulation, for each of "training" and "solving", dimensionless.

    Arguments:
        cell: from `jpo_book.studies.plan`.
    """
    settings, defaults = family(cell)
    size = SIZES[cell.problem](settings)
    networks = max(1, len(cell.network_seeds))
    training = 0.0
    if cell.group_size is not None:
        steps, batch = training_of(cell, defaults)
        training = networks * steps * batch * max(1, cell.num_problems // cell.group_size)
    if cell.kind == "classical":
        solving = cell.num_problems * sum(_budget(name, defaults) for name in _methods(cell))
    elif cell.kind == "joint":
        refinement = defaults.get("refine", {})
        restarts = refinement.get("max_evaluations", 0) * refinement.get("num_starts", 0)
        solving = networks * cell.num_problems * (2 * BFGS().max_evaluations + restarts)
    else:
        solving = 0.0  # counted with the training: both grow with the number of problems
    return {"training": training * size, "solving": solving * size}


def training_of(cell: studies.Cell, defaults: dict[str, Any]) -> tuple[int, int]:
    """Steps, and problems per step, of each network of a cell."""
    given = {name: cell.options[name] for name in ("num_steps", "batch_size") if name in cell.options}
    solver = JointOptimization(**given).with_defaults(defaults.get("JointOptimization", {}))
    return solver.num_steps, min(solver.batch_size or cell.group_size, cell.group_size)


def _methods(cell: studies.Cell) -> Sequence[str]:
    return cell.options.get("methods", CLASSICAL_METHODS)


def _budget(method: str, defaults: dict[str, Any]) -> int:
    """Evaluations per problem that a method spends at most."""
    if method in ("BFGS", "ClassicalStart"):
        return BFGS().max_evaluations
    if method in ("GradientDescent", "Adam"):
        return {"GradientDescent": GradientDescent, "Adam": Adam}[method](
            **defaults.get(method, {})
        ).max_evaluations
    return MultiStart(
        **(defaults.get("MultiStart", {}) if method != "MultiStartAdam" else {})
    ).max_evaluations


# --- what was measured ------------------------------------------------------------------------------------------------


def busy_seconds(seconds: dict[str, float], cores: int | None) -> float:
    """Seconds for which a computed cell keeps all processors busy, from its manifest; on an accelerator (None) its share of the clock's."""
    return (
        seconds["total"] / seconds.get("at_once", 1)
        if cores is None
        else seconds.get("processor", cores * seconds["total"]) / cores
    )


def spent_seconds(
    cell: studies.Cell, seconds: dict[str, float], cores: int | None = None
) -> dict[str, float]:
    """The same by part: "start", "training" and "solving". How busy the processors are in each of them is not known."""
    runs = {name: value for name, value in seconds.items() if name.endswith(".run")}
    training = sum(runs.values()) if cell.kind not in ("classical", "joint") else runs.get("Joint.run", 0.0)
    spent = {
        "training": training,
        "solving": sum(runs.values()) - training,
        "start": max(0.0, seconds["total"] - sum(runs.values())),
    }
    return {part: value * busy_seconds(seconds, cores) / seconds["total"] for part, value in spent.items()}


Times = dict[
    str, dict[str, tuple[studies.Cell, dict[str, float]]]
]  # {hardware: {name of a cell: (cell, seconds of its parts)}}


@functools.lru_cache(maxsize=8)
def cells_of(profile: str) -> tuple[studies.Cell, ...]:
    """All cells of a profile."""
    return tuple(cell for name in studies.STUDIES for cell in studies.plan(name, profile))


def cells_that_tell() -> list[studies.Cell]:
    """The cells of all profiles but smoke, whose studies are too small to tell how long others take, and published, which mixes the others."""
    return [
        cell
        for profile in studies.profiles()
        if profile not in ("smoke", "published")
        for cell in cells_of(profile)
    ]


def computed(cells: Iterable[studies.Cell], folders: Sequence[Path] | None = None) -> Times:
    """The times of all cells that have a manifest, whether or not their code has changed since.

    Arguments:
        cells: to look for.
        folders: where; the folder of studies and the reference results when None.
    """
    folders = [reference_folder(), studies_folder()] if folders is None else folders
    found: Times = {}
    for cell in cells:
        for folder in folders:
            try:
                manifest = json.loads((Path(folder) / f"{cell.name}.json").read_text(encoding="utf-8"))
                shared = manifest.get("studies_at_once", 1)
                times = {**manifest["seconds"], **({"at_once": shared} if shared > 1 else {})}
                found.setdefault(hardware(manifest), {})[cell.name] = cell, times
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return found


def timings_folder() -> Path:
    """Where the times of studies are kept whose results are not: results/timings of the clone."""
    return reference_folder() / "timings"


def keep(times: Times, folder: Path) -> list[Path]:
    """Write times into one file for each hardware, beside those that are there already. Returns the files.

    Studies whose results from that hardware are kept are left out, also those that had been there: their times are in the manifests
    beside the results. So are those that no profile has anymore.
    """
    all_cells, written = cells_that_tell(), []
    beside = {
        (machine, cell)
        for machine, known in computed(all_cells, [reference_folder()]).items()
        for cell in known
    }
    wanted = {cell.name for cell in all_cells}
    for name, known in times.items():
        path = Path(folder) / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
        merged = {
            cell: entry
            for cell, entry in {**kept(path.parent).get(name, {}), **known}.items()
            if cell in wanted and (name, cell) not in beside
        }
        entries = [json.dumps({"cell": cell.model_dump(mode="json", exclude_defaults=True), "seconds": _what_tells(seconds)}, sort_keys=True, separators=(",", ":"))
                   for _, (cell, seconds) in sorted(merged.items())]  # fmt: skip
        head = json.dumps({"format": FORMAT, "hardware": name})
        text = head[:-1] + ', "studies": [\n' + ",\n".join(entries) + "\n]}\n"  # a line for each study
        write_atomically(path, lambda target, text=text: target.write_text(text, encoding="utf-8"))
        written.append(path)
    return written


def _what_tells(seconds: dict[str, float]) -> dict[str, float]:
    """The times that estimates use, with four digits: these files count among the results, whose size is limited."""
    told = {
        part: value
        for part, value in seconds.items()
        if part in ("total", "processor", "at_once", "Joint.run")
    }
    solving = sum(value for part, value in seconds.items() if part.endswith(".run") and part != "Joint.run")
    return {
        part: float(f"{value:.4g}")
        for part, value in {**told, **({"solving.run": solving} if solving else {})}.items()
    }


def kept(folder: Path) -> Times:
    """The times that `keep` has written.

    Raises:
        ValueError: if a file there is of another kind.
    """
    found: Times = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = content["format"] == FORMAT
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise ValueError(
                f"{path.name}: expected times of studies in the format {FORMAT}, got something else; move it away."
            )
        cells = ((studies.Cell(**entry["cell"]), entry["seconds"]) for entry in content["studies"])
        found.setdefault(content["hardware"], {}).update(
            {cell.name: (cell, seconds) for cell, seconds in cells}
        )
    return found


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of one cell, and what they rest on: "computed", "scaled", "benchmark" or "unknown" (then seconds are NaN)."""

    seconds: float
    basis: str


class Rates:
    """Seconds per unit of work on one kind of hardware."""

    def __init__(
        self,
        known: dict[str, tuple[studies.Cell, dict[str, float]]],
        benchmark: dict[str, Any] | None = None,
        cores: int | None = None,
    ):
        """
        Arguments:
            known: {name: (cell, seconds)}, as `computed` finds them for this hardware.
            benchmark: a file of `jpo_book.pages.benchmarks.read_benchmarks` of comparable hardware, for problems without such cells.
            cores: number of processors, if the studies were computed on these; None on an accelerator.
        """
        self.known, self.cores = known, cores
        self.at_once = max(
            (int(seconds.get("at_once", 1)) for _, seconds in known.values()), default=1
        )  # studies that shared an accelerator
        groups: dict[tuple[str, str, float | None], dict] = {}
        for cell, seconds in known.values():
            for key in self._keys(cell):
                groups.setdefault(key, {})[cell.name] = (
                    planned_work(cell),
                    spent_seconds(cell, seconds, cores),
                )
        if cores is not None:  # the clock is an upper bound only, for where nothing better is known
            groups = {
                key: {name: pair for name, pair in pairs.items() if "processor" in known[name][1]} or pairs
                for key, pairs in groups.items()
            }
        self.rates = {
            key: {
                **{
                    part: sum(s[part] for _, s in pairs.values())
                    / max(sum(w[part] for w, _ in pairs.values()), 1e-300)
                    for part in PARTS
                },
                "start": float(np.median([s["start"] for _, s in pairs.values()])),
                "cells": frozenset(pairs),
            }
            for key, pairs in groups.items()
        }
        self.evaluations = {} if benchmark is None else _evaluations(benchmark)

    @staticmethod
    def _keys(cell: studies.Cell) -> tuple[tuple[str, str, float | None], ...]:
        """The groups of a cell: those with simulations of equal size, whose times tell most, and all of the problem and kind."""
        return (cell.problem, cell.kind, SIZES[cell.problem](family(cell)[0])), (
            cell.problem,
            cell.kind,
            None,
        )

    def group_of(self, cell: studies.Cell) -> tuple[str, str, float | None] | None:
        """The key in `rates` that a cell is estimated from, None if no cell tells anything about it."""
        return next((key for key in self._keys(cell) if key in self.rates), None)

    def estimate(self, cell: studies.Cell) -> Estimate:
        """How long a cell keeps the hardware busy; exactly what it took, if it has been computed on it."""
        if cell.name in self.known:
            return Estimate(busy_seconds(self.known[cell.name][1], self.cores), MEASURED)
        work, group = planned_work(cell), self.group_of(cell)
        if group is not None:
            rate = self.rates[group]
            return Estimate(rate["start"] + sum(rate[part] * work[part] for part in PARTS), SCALED)
        if cell.problem in self.evaluations:
            per_work, start = self.evaluations[cell.problem]
            return Estimate(start + per_work * sum(work.values()), BENCHMARK)
        return Estimate(math.nan, UNKNOWN)

    def check(self) -> list[float]:
        """Estimate over time, for each timed cell that can be estimated from the cells of other studies alone; sorted."""
        ratios = []
        for left_out in dict.fromkeys(cell.study for cell, _ in self.known.values()):
            others = Rates(
                {name: entry for name, entry in self.known.items() if entry[0].study != left_out},
                cores=self.cores,
            )
            for cell, seconds in (entry for entry in self.known.values() if entry[0].study == left_out):
                estimate = others.estimate(cell)
                if estimate.basis == SCALED:
                    ratios.append(estimate.seconds / busy_seconds(seconds, self.cores))
        return sorted(ratios)


def _evaluations(benchmark: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """{problem: (seconds of an evaluation of size 1, seconds of compilation)} from the largest batch of a benchmark."""
    return {
        problem: (row["seconds"] / SIZES[problem](family_of(problem, "{}")[0]), 3 * row["compile_seconds"])
        for problem, row in largest_evaluations(benchmark).items()
    }


def all_rates(cores: int | None = None) -> dict[str, Rates]:
    """{hardware: Rates}, best known first.

    Arguments:
        cores: spread the processor time of studies over so many; over those of the hardware when None.
    """
    times = kept(timings_folder())
    for name, known in computed(cells_that_tell()).items():
        times.setdefault(name, {}).update(known)
    on_processors = next(filter(of_processors, read_benchmarks()), None)
    if on_processors is not None and not any("CPU" in name for name in times):
        times[f"{on_processors['machine']['device']}, {on_processors['machine']['cores']} cores"] = {}
    found = {}
    for name, known in times.items():
        there = cores_of(name)
        found[name] = Rates(known, on_processors if "CPU" in name else None, there and (cores or there))
    return dict(sorted(found.items(), key=lambda item: -len(item[1].known)))
