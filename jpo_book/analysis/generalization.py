"""What the study of generalization says: the gap between known and unseen problems, and rows for its table.

The data sets are those of `jpo_book.studies.combine` for cells of the kind "generalization";
`jpo_book.studies.run_generalization.SOLVERS` explains the names of the solvers.
"""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from jpo_book.analysis.resample import Estimate, compared, estimate, means, ordered, rate, weights
from jpo_book.analysis.rules import TABLES, side_of_margin
from jpo_book.names import METHODS
from jpo_book.words import difference_with_interval, shares, with_interval

_read = TABLES["generalization"]
HEADER, ANSWERS = _read["header"], _read["answers"]
OPPONENTS = {"one run of BFGS": "BFGSUnseen", METHODS["MultiStart"].label: "MultiStartUnseen"}
VERDICTS = {1: "more", -1: "fewer", 0: "as many, as far as we can tell"}


def difference(study: xr.Dataset, first: str, second: str) -> tuple[Estimate, str]:
    """Solved rate of one solver minus that of another.

    Problems are drawn again together when both solved the same ones, and apart when one solved known problems
    and the other unseen ones.

    Arguments:
        study: for one n: solved (data_seed, solver, network_seed, problem).
        first, second: names of solvers.
    Returns:
        the difference, and "more", "fewer" or "as many, as far as we can tell".
    """
    a, b = (ordered(study.solved.sel(solver=name)) for name in (first, second))
    runs, problems = weights(*a.shape)
    same = ("Unseen" in first) == ("Unseen" in second)
    others = problems if same else weights(*b.shape, seed=1)[1]
    found = estimate(means(a, runs, problems) - means(b, runs, others))
    return found, VERDICTS[side_of_margin(*found.interval)]


def _shares(study: xr.Dataset, solver: str, opponent: str) -> str:
    """How often a solver is better than another, ties with it or is worse."""
    pair = (study.sel(solver=name, drop=True) for name in (solver, opponent))
    return shares(compared(*pair).values)


def answer_rows(title: str, study: xr.Dataset) -> list[list[str]]:
    """A row for each n and kind of answer, see `HEADER`, and one for each opponent."""
    rows = []
    for n in study.group_size.values:
        one = study.sel(group_size=n)
        for name, (raw, refined, opponent) in ANSWERS.items():
            training = float(one.num_training_evaluations.sel(solver=refined).mean())
            total = float(one.num_evaluations.sel(solver=refined).mean())
            refinement = total - training if refined == "JointRefined" else total
            solved = [with_interval(rate(one.solved.sel(solver=solver))) for solver in (raw, refined)]
            spent = f"{training:.1f}", f"{refinement:.1f}"
            rows.append([title, str(n), name, *solved, _shares(one, refined, opponent), *spent])
    first = study.isel(group_size=0)
    for name, solver in OPPONENTS.items():
        solved = with_interval(rate(first.solved.sel(solver=solver)))
        spent = f"{float(first.num_evaluations.sel(solver=solver).mean()):.1f}"
        signs = _shares(first, solver, "BFGSUnseen")
        rows.append([title, "", f"{name}, unseen problems", "", solved, signs, "", spent])
    return rows


def findings(study: xr.Dataset) -> dict[str, str]:
    """Numbers of one experiment for the text of its page."""
    large, small = study.sel(group_size=study.group_size.max()), study.sel(group_size=study.group_size.min())
    values = {
        "n-max": str(int(large.group_size)),
        "n-min": str(int(small.group_size)),
        "data-seeds": str(study.sizes["data_seed"]),
        "network-seeds": str(study.sizes["network_seed"]),
        "gap-min": difference_with_interval(difference(small, *_read["differences"]["gap"])[0]),
    }
    for name, pair in _read["differences"].items():
        values[name] = difference_with_interval(difference(large, *pair)[0])
    for name, solver in _read["solvers"].items():
        values[f"{name}-solved"] = with_interval(rate(large.solved.sel(solver=solver)))
        # A problem of the data is what costs are counted for: supervised training has pairs of its own.
        counted = "SupervisedRefined" if name == "supervised" else solver
        values[f"{name}-cost"] = f"{float(large.num_evaluations.sel(solver=counted).mean()):.0f}"
    return values


def findings_rows(runs: Mapping[str, xr.Dataset]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what the page says for the largest n of each experiment."""
    header = ["with the largest n", *runs]
    found = {name: findings(study) for name, study in runs.items()}
    return header, [[line, *(found[name][key] for name in runs)] for line, key in _read["findings"].items()]
