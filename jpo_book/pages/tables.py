"""Numbers and tables of results for the pages of the book, so that nobody types them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from jpo_book.analysis.costs import refined_method
from jpo_book.analysis.resample import Estimate, compared, mean, rate
from jpo_book.analysis.rules import TABLES, side_of_margin
from jpo_book.figures import csv_text
from jpo_book.names import METHODS
from jpo_book.studies import Cell
from jpo_book.words import difference_with_interval, percent, unbroken, with_interval

RESULTS_HEADER, LEDGER_HEADER = (TABLES["headers"][name] for name in ("results", "ledger"))
RATES = ("solved", "better", "tie", "worse")


class Comparison(NamedTuple):
    """How often a method is better than another, ties with it or is worse, and what each solved."""

    better: Estimate
    tie: Estimate
    worse: Estimate
    solved: Estimate
    solved_reference: Estimate


def comparison(study: xr.Dataset, reference: xr.Dataset) -> Comparison:
    """`jpo_lib.metrics.outcome` over all seeds of a study; the reference (data_seed, problem) is the same for
    all networks."""
    signs = compared(study, reference)
    return Comparison(*map(rate, (signs > 0, signs == 0, signs < 0, study.solved, reference.solved)))


def change(before: xr.Dataset, after: xr.Dataset) -> tuple[str, str]:
    """Solved rate of one method minus that of another on the same problems, with its interval; and whether it
    "rises", "falls" or "does not clearly change", by the margin of the rules."""
    found = mean(after.solved.astype(float) - before.solved)
    words = {1: "rises", -1: "falls", 0: "does not clearly change"}
    return difference_with_interval(found), words[side_of_margin(*found.interval)]


def plain_words(
    cells: Sequence[Cell], combined: Mapping[str, tuple[Any, xr.Dataset]], joint: xr.Dataset
) -> dict[str, str]:
    """What a page says of plain networks, as text by name: how they were trained, and what they solve with
    their largest n, against tailored ones with the same n and against one run of BFGS.

    Arguments:
        cells, combined: of their study, the latter from `jpo_book.studies.combine_variants`; "tailored" holds
            tailored networks on the same problems where those of `joint` are not.
        joint: the study of tailored networks.
    """
    if "" not in combined:
        return dict.fromkeys(("plain-rate", "plain-steps", "plain-sentence"), "(not computed)")
    options = next(c.options for c in cells if c.kind == "joint" and c.variant == "")
    classical, plain = combined[""]
    n = int(plain.group_size.max())
    which = {"group_size": n, "data_seed": plain.data_seed, "solver": "JointRefined"}
    tailored = combined.get("tailored", (None, joint))[1].isel(problem=slice(plain.sizes["problem"]))
    own, other = plain.sel(which), tailored.sel(which)
    words, told = {1: "more than", -1: "fewer than", 0: "not clearly more or fewer than"}, []
    for name, study in (("the network above", other), ("one run of BFGS", classical.sel(solver="BFGS"))):
        side = side_of_margin(*mean(own.solved.astype(float) - study.solved).interval)
        told.append(f"{words[side]} {name} ({percent(float(study.solved.mean()))})")
    solved = with_interval(rate(own.solved))
    text = f"With n = {n} they solve {solved} of the problems after refinement: {' and '.join(told)}."
    used = {"plain-rate": f"{options['learning_rate']:g}", "plain-steps": str(options["num_steps"])}
    return {**used, "plain-sentence": text}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence], *, label: str, caption: str, data=None):
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


def _methods(classical: xr.Dataset, joint: xr.Dataset):
    """(method, n, results) of each method; of joint optimization for every n."""
    for method in classical.solver.values:
        yield method, "", classical.sel(solver=method, drop=True)
    for method, n in itertools.product(joint.solver.values, joint.group_size.values):
        yield method, int(n), joint.sel(solver=method, group_size=n, drop=True)


def results_rows(classical: xr.Dataset, joint: xr.Dataset) -> list[list[object]]:
    """Solved rate and better / tie / worse against BFGS with evaluations per problem:
    a row for each method and n.

    Arguments:
        classical, joint: the study, from `jpo_book.studies.combine`.
    """
    reference = classical.sel(solver="BFGS", drop=True)
    rows = []
    for method, n, study in _methods(classical, joint):
        found = comparison(study, reference)
        rates = (percent(one.value) for one in (found.better, found.tie, found.worse))
        evaluations = f"{float(study.num_evaluations.mean()):.0f}"
        rows.append([METHODS[method].label, n, with_interval(found.solved), *rates, evaluations])
    return rows


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
        found = comparison(study, reference)
        record = {"experiment": name, "solver": METHODS[method].label, "n": n}
        record |= {"data_sets": study.sizes["data_seed"], "networks": study.sizes.get("network_seed", "")}
        record["problems"] = study.sizes["problem"]
        for column in RATES:
            record |= getattr(found, column).columns(column)
        records.append({**record, "evaluations": float(study.num_evaluations.mean())})
    return records


def ledger_rows(records: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Rows under `LEDGER_HEADER`; seeds are data sets × networks, rates have their interval in brackets."""

    def with_bounds(record, rate):
        bounds = (record[name] for name in (rate, f"{rate}_low", f"{rate}_high"))
        return "{} ({}–{})".format(*(percent(value).removesuffix(" %") for value in bounds))

    def row(record):
        what = [record[name] for name in ("experiment", "solver", "n")]
        seeds = " × ".join(str(record[name]) for name in ("data_sets", "networks") if record[name] != "")
        return [*what, seeds, *(with_bounds(record, rate) for rate in RATES), f"{record['evaluations']:.0f}"]

    return [row(record) for record in records]


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
        told = {}
        for method, n, study in _methods(classical, joint):
            if n in ("", size):
                spent = f"{float(study.num_evaluations.mean()):.0f}"
                told[method] = f"{percent(float(study.solved.mean()))} at {spent}"
        rows.append([name, int(size), *(told.get(method, "") for method in methods)])
    header = ["study", "n", *(METHODS[method].label for method in methods)]
    return markdown_table(header, rows, label=label, caption=caption)


def crossing_words(point: Estimate | None, sizes) -> str:
    """A crossing point (`jpo_book.analysis.costs.crossing`) with its interval as text, such as
    "3800 (95 % interval 2900 to 5100)", "more than 4096", "between 64 and 256" or "undefined".

    Arguments:
        point: None where it was not computed.
        sizes: the n that were tested.
    """
    if point is None or np.isnan(point.value):
        return "(not computed)" if point is None else "undefined"

    def number(value: float) -> str:  # between tested n, two digits are more than is known
        return f"{value if value in sizes else float(f'{value:.2g}'):.0f}"

    low, high, (first, last) = point.low, point.high, np.asarray(sizes)[[0, -1]]
    lower = f"below {first}" if low == 0 else number(low)
    upper = f"above {last}" if high == np.inf else number(high)
    interval = f" (95 % interval {lower} to {upper})"
    if point.value == point.upper:
        return number(point.value) + (interval if lower != upper else "")
    if point.value == 0:
        text = "not known" if point.upper == np.inf else f"at most {number(point.upper)}"
    elif point.upper == np.inf:
        text = f"more than {number(point.value)}"
    else:
        text = f"between {number(point.value)} and {number(point.upper)}"
    return text + (interval if (low, high) != (point.value, point.upper) else "")


def cost_summary(short: str, joint: xr.Dataset) -> dict[str, object]:
    """What a page says about one experiment with the same number of steps for every n, by names that begin
    with `short`: of the largest n how often training visits a problem, and what its refinement spends, and
    what the answers of untrained networks lead to.

    Arguments:
        short: beginning of the names.
        joint: results of networks, from `jpo_book.studies.combine`.
    """
    largest = joint.isel(group_size=-1)
    training = largest.num_evaluations.sel(solver="Joint").mean()
    refined = largest.sel(solver=refined_method(joint))
    values = {
        "visits": f"{float(training):.1f}",
        "refinement": f"{float(refined.num_evaluations.mean() - training):.1f}",
        "untrained": percent(float(joint.solved.sel(solver="NetworkStart").mean())),
        "untrained-cost": f"{float(joint.num_evaluations.sel(solver='NetworkStart').mean()):.1f}",
    }
    return {f"{short}-{name}": value for name, value in values.items()}
