"""Numbers and tables of results for the pages of the book, so that nobody types them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from jpo_book.analysis.costs import costs_of_runs, joint_costs, refined_method
from jpo_book.figures import csv_text
from jpo_book.names import METHODS
from jpo_book.words import percent, unbroken, with_interval
from jpo_lib.metrics import Comparison, Rate, compare


def comparison(study: xr.Dataset, reference: xr.Dataset) -> Comparison:
    """`compare` over all seeds of a study; the reference (data_seed, problem) is repeated
    for each network seed."""
    arrays = xr.broadcast(study.loss, study.solved, reference.loss, reference.solved)
    order = ("data_seed", *[d for d in arrays[0].dims if d not in ("data_seed", "problem")], "problem")
    loss, solved, *others = (("problem", array.transpose(*order).values.reshape(-1)) for array in arrays)
    outcome = compare(
        xr.Dataset({"loss": loss, "solved": solved}),
        xr.Dataset(dict(zip(("loss", "solved"), others, strict=True))),
    )
    # Repeating the reference for every network adds no evidence about it: its rate counts each problem once.
    alone = Rate(int(reference.solved.sum()), int(reference.solved.size))
    return dataclasses.replace(outcome, solved_reference=alone)


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, label: str, caption: str, data=None
):
    """A numbered table for the book; shown as Markdown in a notebook.

    Arguments:
        header, rows: what is shown.
        label, caption: such as "table-4", and one sentence.
        data: (header, rows) for the download, unrounded; what is shown when None.
    """
    from IPython.display import Markdown

    class Table(Markdown):
        def _repr_csv_(self):
            return None if data is None else csv_text(*data)

    shown = [header, ["---"] * len(header), *([unbroken(str(value)) for value in row] for row in rows)]
    lines = ["| " + " | ".join(row) + " |" for row in shown]
    return Table("\n".join([f"```{{table}} {caption}", f":name: {label}", "", *lines, "```"]))


def _methods(classical: xr.Dataset, joint: xr.Dataset, for_every_n: Sequence[str] | None = None):
    """(method, n, results) of each method; of joint optimization for every n, or for the largest n alone
    where the method is not listed."""
    for method in classical.solver.values:
        yield method, "", classical.sel(solver=method, drop=True)
    for method in joint.solver.values:
        sizes = joint.group_size.values
        for n in sizes if for_every_n is None or method in for_every_n else sizes[-1:]:
            yield method, int(n), joint.sel(solver=method, group_size=n, drop=True)


RESULTS_HEADER = [
    "solver",
    "n",
    "solved (95 % interval)",
    "better",
    "tie",
    "worse",
    "evaluations per problem",
]


def results_rows(
    classical: xr.Dataset, joint: xr.Dataset, methods: Sequence[str] | None = None
) -> list[list[object]]:
    """Solved rate and better / tie / worse against BFGS with evaluations per problem:
    a row for each method and n.

    Arguments:
        classical, joint: the study, from `jpo_book.studies.combine`.
        methods: those methods of joint optimization that are listed for every n, the others for the largest n
            alone; all for every n when None.
    """
    reference = classical.sel(solver="BFGS", drop=True)
    rows = []
    for method, n, study in _methods(classical, joint, methods):
        outcome = comparison(study, reference)
        rates = (percent(rate.value) for rate in (outcome.better, outcome.tie, outcome.worse))
        evaluations = f"{float(study.num_evaluations.mean()):.0f}"
        rows.append([METHODS[method][0], n, with_interval(outcome.solved), *rates, evaluations])
    return rows


RATES = ("solved", "better", "tie", "worse")
LEDGER_HEADER = [
    "experiment",
    "solver",
    "n",
    "seeds",
    "solved, %",
    "better than BFGS, %",
    "tie, %",
    "worse, %",
    "evaluations",
]


def ledger_records(name: str, classical: xr.Dataset, joint: xr.Dataset) -> list[dict[str, Any]]:
    """Every method and every n of an experiment: rates with 95 % intervals, evaluations per problem, and what
    they rest on.

    Arguments:
        name: of the experiment.
        classical, joint: the study, from `jpo_book.studies.combine`.
    """
    reference = classical.sel(solver="BFGS", drop=True)
    records = []
    for method, n, study in _methods(classical, joint):
        outcome = comparison(study, reference)
        record = {
            "experiment": name,
            "solver": METHODS[method][0],
            "n": n,
            "data_sets": study.sizes["data_seed"],
            "networks": study.sizes.get("network_seed", ""),
            "problems": study.sizes["problem"],
        }
        for name_of_rate in RATES:
            rate = getattr(outcome, name_of_rate)
            values = (rate.value, *rate.interval)
            record |= dict(
                zip((name_of_rate, f"{name_of_rate}_low", f"{name_of_rate}_high"), values, strict=True)
            )
        records.append({**record, "evaluations": float(study.num_evaluations.mean())})
    return records


def ledger_rows(records: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Rows under `LEDGER_HEADER`; seeds are data sets × networks, rates have their interval in brackets."""

    def with_bounds(record, rate):
        bounds = (record[name] for name in (rate, f"{rate}_low", f"{rate}_high"))
        return "{} ({}–{})".format(*(percent(value).removesuffix(" %") for value in bounds))

    return [
        [
            *(record[name] for name in ("experiment", "solver", "n")),
            " × ".join(str(record[name]) for name in ("data_sets", "networks") if record[name] != ""),
            *(with_bounds(record, rate) for rate in RATES),
            f"{record['evaluations']:.0f}",
        ]
        for record in records
    ]


def results_table(classical: xr.Dataset, joint: xr.Dataset, *, label: str, caption: str):
    """The rows of `results_rows` as a numbered table."""
    return markdown_table(RESULTS_HEADER, results_rows(classical, joint), label=label, caption=caption)


def studies_table(named, *, label: str, caption: str):
    """Fraction solved and evaluations per problem of several studies, a row for each; `named` has (classical,
    joint) by name."""
    methods = ("BFGS", "MultiStart", "ClassicalStart", "NetworkStart", "JointRefined")
    rows = []
    for name, (classical, joint) in named.items():
        size = joint.group_size.values.max()
        found = {method: study for method, n, study in _methods(classical, joint) if n in ("", size)}
        told = {
            method: f"{percent(float(study.solved.mean()))} at {float(study.num_evaluations.mean()):.0f}"
            for method, study in found.items()
        }
        rows.append([name, int(size), *(told.get(method, "") for method in methods)])
    header = ["study", "n", *(METHODS[method][0] for method in methods)]
    return markdown_table(header, rows, label=label, caption=caption)


def crossing_words(point: dict[str, float], bound: str = "value") -> str:
    """One of the numbers of `jpo_book.analysis.costs.crossing` as text:
    "256", "more than 65536", or "undefined"."""
    value = point[bound]
    if np.isnan(value):
        return "undefined"
    return f"more than {point['largest']:.0f}" if np.isinf(value) else f"{value:.0f}"


def crossing_with_interval(point: dict[str, float]) -> str:
    """A crossing point with its interval as text."""
    middle, low, high = (crossing_words(point, bound) for bound in ("value", "low", "high"))
    if middle == "undefined":
        return middle
    return f"{middle} ({low})" if low == high else f"{middle} ({low} to {high})"


def spacing(sizes) -> str:
    """How far apart the tested n lie, as text:
    "a factor of 4", or "factors of 4 to 64" where the gaps differ."""
    sizes = np.unique(np.asarray(sizes, float))
    if sizes.size < 2:
        return "(only one was tested)"
    ratios = sizes[1:] / sizes[:-1]
    low, high = ratios.min(), ratios.max()
    return f"a factor of {low:g}" if np.isclose(low, high) else f"factors of {low:g} to {high:g}"


def _cost(costs: xr.DataArray) -> str:
    """Mean over seeds as text; it needs all of them."""
    return f"{float(costs.mean()):.1f}" if bool(costs.notnull().all()) else "(never so many solved)"


def cost_summary(short: str, classical: xr.Dataset, joint: xr.Dataset, level: float) -> dict[str, object]:
    """What a page says about the costs of one experiment, by names that begin with `short`.

    Arguments:
        short: beginning of the names.
        classical, joint: the study, from `jpo_book.studies.combine`.
        level: fraction of problems to be solved.
    """
    own = joint_costs(joint, level)
    largest = joint.isel(group_size=-1)
    training = largest.num_evaluations.sel(solver="Joint").mean()
    refined = largest.sel(solver=refined_method(joint))
    values = {
        "n-min": int(joint.group_size[0]),
        "n-max": int(joint.group_size[-1]),
        "spacing": spacing(joint.group_size),
        "num-problems": joint.sizes["problem"],
        "cost-min": _cost(own.isel(group_size=0)),
        "cost-max": _cost(own.isel(group_size=-1)),
        "visits": f"{float(training):.1f}",
        "refinement": f"{float(refined.num_evaluations.mean() - training):.1f}",
        "solved": percent(float(refined.solved.mean())),
        "untrained": percent(float(joint.solved.sel(solver="NetworkStart").mean())),
        "untrained-cost": f"{float(joint.num_evaluations.sel(solver='NetworkStart').mean()):.1f}",
    }
    for method, name in (("MultiStart", "restarts"), ("NetworkMultiStart", "networks")):
        if method in classical.solver:
            chosen = classical.sel(solver=method, drop=True)
            values |= {
                name: _cost(costs_of_runs(chosen, level)),
                f"{name}-solved": percent(float(chosen.solved.mean())),
            }
        else:
            values |= {name: "(not computed)", f"{name}-solved": "(not computed)"}
    return {f"{short}-{name}": value for name, value in values.items()}
