"""Where joint optimization pays: maps over the difficulty of the problems and the number n
that share a network.

A cell of a map compares refined JPO with two opponents on the same problems: one run of BFGS, and multi-start
BFGS. The second one is stopped at the budget per problem with which it spends as much as JPO on average. JPO
pays in a cell when it has then solved more, and multi-start BFGS would not have ended by itself. Costs follow
`jpo_book.analysis.costs`: training counts in full, and a solved problem spends nothing more.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from jpo_book import studies
from jpo_book.analysis.costs import refined_and_training
from jpo_book.analysis.resample import ORDER, compared, estimate, means, ordered, weights
from jpo_book.analysis.rules import TABLES
from jpo_book.names import EXPERIMENTS
from jpo_lib.metrics import spent
from jpo_lib.problems import PROBLEMS

CONFIDENCE = 0.975  # share of the resamples in which a cell must pay to be called certain
VALUES = ("advantage", "equal_cost", "difference", "cost_ratio")  # each with an interval
INTERVALS = [f"{name}{end}" for name in VALUES for end in ("", "_low", "_high")]
NUM_BUDGETS = 120  # budgets at which multi-start BFGS is looked at, evenly on a logarithmic axis


@dataclasses.dataclass(frozen=True)
class Map:
    """What one map shows.

    Arguments:
        title: name of the experiment and of what varies.
        axis: label of the axis of difficulty, with its unit.
        studies: names of the studies whose cells it holds.
        sizes: the n of its columns.
        place: cell of a study -> (position in the order of rows, label of the row),
            or None if it belongs elsewhere.
    """

    title: str
    axis: str
    studies: tuple[str, ...]
    sizes: tuple[int, ...]
    place: Callable[[studies.Cell], tuple[float, str] | None]


def _settings(cell: studies.Cell) -> dict:
    """All settings of a cell's problem, the defaults where the cell leaves them open."""
    parameters = inspect.signature(PROBLEMS[cell.problem]).parameters
    return {**{name: one.default for name, one in parameters.items()}, **cell.settings}


def _wave_packet(cell) -> tuple[float, float, bool, bool]:
    """Range of t0 in periods of the carrier wave, noise, and whether each is the usual one."""
    usual = PROBLEMS[cell.problem]().settings
    settings = PROBLEMS[cell.problem](**cell.settings).settings
    periods = [(one["prior_upper"] - one["prior_lower"]) / (2 * math.pi) for one in (settings, usual)]
    return periods[0], settings["noise"], math.isclose(*periods), settings["noise"] == usual["noise"]


def _range_of_prior(cell):
    periods, _, _, usual_noise = _wave_packet(cell)
    return (periods, f"{periods:.1f}") if usual_noise else None


def _noise(cell):
    _, noise, usual_range, _ = _wave_packet(cell)
    return (noise, f"{noise:g}") if usual_range else None


def _layout(cell):
    settings = PROBLEMS[cell.problem](**cell.settings).settings
    if settings["layout"] == "rack":
        return 1000.0, f"rack of {len(settings['positions']) - 1}"
    if settings["cushions"]:
        return 100.0, "cushions"
    blocking = len(settings["positions"]) - 2  # without the cue ball and the target ball
    return float(blocking), f"{blocking} in the way"


def _horizon(cell):
    horizon = float(_settings(cell)["horizon"])
    return horizon, f"{horizon:g}"


def _flow(cell):
    settings = _settings(cell)
    horizon = float(settings["horizon"])
    if settings["target"] == "marker":
        return 2000.0, f"{horizon:g}, marker"
    return (1000.0, f"{horizon:g}, no shear") if settings["shear"] == 0 else (horizon, f"{horizon:g}")


PLACES = (_range_of_prior, _noise, _layout, _horizon, _flow)
MAPS = tuple(
    Map(
        f"{EXPERIMENTS[one['problem']].title}, {one['varied']}",
        one["axis"],
        (one["problem"], *(f"{one['problem']}_{ending}" for ending in one["studies"])),
        tuple(one["sizes"]),
        place,
    )
    for one, place in zip(TABLES["validity"], PLACES, strict=True)
)


def compare_cell(classical: xr.Dataset, joint: xr.Dataset, num_resamples: int = 500) -> dict[str, float]:
    """Values of one cell, with 95 % intervals.

    Arguments:
        classical: (data_seed, solver, problem) with BFGS and MultiStart.
        joint: (data_seed, solver, network_seed, problem) for one n.
    Returns:
        advantage: fraction better minus fraction worse than one run of BFGS; equal_cost: solved rate minus
            that of
        multi-start BFGS at the same mean number of evaluations, or in the end if it never spends so many;
        difference: solved rate minus that of multi-start BFGS in the end; cost_ratio: evaluations per problem
            over those of multi-start
        BFGS in the end; each with _low and _high. pays: 1 or 0, whether JPO solves more at equal cost, with a
        cost ratio of at most 1; certainty: share of the resamples in which it does. num_problems: different
        problems, of all data sets;
        num_networks: network seeds.
    """
    refined = joint.sel(solver="JointRefined", drop=True)
    best, training = refined_and_training(joint)
    bfgs, restarts = (classical.sel(solver=name, drop=True) for name in ("BFGS", "MultiStart"))
    parts = {
        "advantage": ordered(compared(refined, bfgs)),
        "solved": ordered(best.solved),
        "cost": spent(*(ordered(one) for one in (best.solved_at, best.num_evaluations, training))),
    }
    rival_at = ordered(restarts.solved_at)
    rival_spent = spent(rival_at, ordered(restarts.num_evaluations), 0)
    budgets = np.unique(np.round(np.geomspace(1, max(2, rival_spent.max()), NUM_BUDGETS)))
    budgets = budgets[:, None, None, None]
    draws = weights(*(joint.sizes[name] for name in ORDER), num_resamples)
    found = {name: means(values, *draws) for name, values in parts.items()}
    # Multi-start BFGS with each budget, (budgets, draws): what it spends, and what it has solved by then.
    rival_costs, solved = (
        means(values, *draws)
        for values in (np.minimum(rival_spent, budgets), (rival_at > 0) & (rival_at <= budgets))
    )
    # The first budget that costs no less than JPO: in doubt, multi-start BFGS gets a little more.
    first = np.argmax(rival_costs >= found["cost"] - 1e-9, axis=0)
    enough = np.where(rival_costs[-1] < found["cost"], len(rival_costs) - 1, first)
    found["equal_cost"] = found["solved"] - np.take_along_axis(solved, enough[None], axis=0)[0]
    found["difference"], found["cost_ratio"] = found["solved"] - solved[-1], found["cost"] / rival_costs[-1]
    pays = (found["equal_cost"] > 1e-9) & (found["cost_ratio"] <= 1)
    result = {
        "pays": float(pays[0]),
        "certainty": float(pays[1:].mean()),
        "num_problems": joint.sizes["problem"] * joint.sizes["data_seed"],
        "num_networks": joint.sizes["network_seed"],
    }
    for name in VALUES:
        result |= estimate(found[name]).columns(name)
    return result


def build_map(
    what: Map, plans: Mapping[str, Sequence[studies.Cell]], known: Sequence[studies.Cell] = ()
) -> xr.Dataset:
    """All cells of a map: the variables of `compare_cell` with the axes difficulty and group_size.

    A cell that was not computed is NaN.

    Arguments:
        what: the map.
        plans: cells by the name of their study; they are loaded, or computed where they are missing.
        known: cells of a larger plan, whose rows are shown even if they were not computed.
    """
    placed = (what.place(cell) for cell in known if cell.study in what.studies)
    places = {place for place in placed if place}
    found: dict[tuple, dict[str, float]] = {}
    for name in what.studies:
        cells = [cell for cell in plans.get(name, ()) if what.place(cell)]
        if not cells:
            continue
        variants = {c.variant: place for c in cells if c.kind == "joint" and (place := what.place(c))}
        places |= set(variants.values())
        combined = studies.combine_variants(cells, studies.load_or_run(cells, quiet=True))
        for variant, (classical, joint) in combined.items():
            for size in set(what.sizes) & set(joint.group_size.values.tolist()):
                one = compare_cell(classical, joint.sel(group_size=size, drop=True))
                found.setdefault((variants[variant], size), one)
    if not places:
        asked = ", ".join(what.studies)
        raise ValueError(f"plans: expected at least one cell of {asked}, got none; plan one of these.")
    rows = sorted(places)

    def values(name):
        return [[found.get((row, n), {}).get(name, np.nan) for n in what.sizes] for row in rows]

    names = ("pays", "certainty", "num_problems", "num_networks", *INTERVALS)
    coordinates = {"difficulty": [label for _, label in rows], "group_size": list(what.sizes)}
    arrays = {name: (list(coordinates), np.array(values(name))) for name in names}
    attributes = {"title": what.title, "axis": what.axis, "confidence": CONFIDENCE}
    return xr.Dataset(arrays, coordinates, attributes)


def build_maps(plans: Mapping[str, Sequence[studies.Cell]], seed: int = 0) -> list[xr.Dataset]:
    """The maps of all experiments; rows that only the profile "paper" computes are there and empty."""
    largest = [cell for name in plans for cell in studies.plan(name, "paper", seed=seed)]
    known = [cell for cell in largest if cell.kind == "joint"]
    return [build_map(what, plans, known) for what in MAPS]


HEADER = ["map", "difficulty", "n", "problems", "networks", *INTERVALS, "pays", "certainty"]


def cell_rows(maps: Sequence[xr.Dataset]) -> list[list[object]]:
    """All cells as rows under `HEADER`; those that were not computed have empty values."""
    rows = []
    for one in maps:
        for label in one.difficulty.values:
            for size in one.group_size.values:
                cell = one.sel(difficulty=label, group_size=size)
                values = [float(cell[name]) for name in ("num_problems", "num_networks", *HEADER[5:])]
                texts = ("" if np.isnan(v) else f"{v:.6g}" for v in values)
                rows.append([one.title.replace("$", ""), str(label), int(size), *texts])
    return rows


def count_cells(maps: Sequence[xr.Dataset]) -> dict[str, int]:
    """How many cells were computed, in how many JPO has the advantage over one run of BFGS,
    and in how many it pays."""
    certain = [m.certainty >= CONFIDENCE for m in maps]
    return {
        "cells": sum(m.advantage.size for m in maps),
        "computed": sum(int(m.advantage.notnull().sum()) for m in maps),
        "ahead": sum(int((m.advantage_low > 0).sum()) for m in maps),
        "behind": sum(int((m.advantage_high < 0).sum()) for m in maps),
        "pays": sum(int(((m.pays == 1) & sure).sum()) for m, sure in zip(maps, certain, strict=True)),
        "perhaps": sum(int(((m.pays == 1) & ~sure).sum()) for m, sure in zip(maps, certain, strict=True)),
    }
