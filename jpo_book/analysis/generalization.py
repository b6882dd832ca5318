"""What the study of generalization says: the gap between known and unseen problems, and rows for its table.

The data sets are those of `jpo_book.studies.combine` for cells of the kind "generalization"; `jpo_book.studies.run_generalization.SOLVERS`
explains the names of the solvers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from jpo_book.analysis.resample import resampled_interval
from jpo_book.analysis.rules import MARGIN
from jpo_book.words import percent, with_interval
from jpo_lib.metrics import Rate, outcome

HEADER = [
    "experiment",
    "n",
    "answers",
    "raw, solved (95 % interval)",
    "refined, solved (95 % interval)",
    "refined, better / tie / worse than BFGS",
    "evaluations per problem: training",
    "refinement",
]
ANSWERS = {  # raw, refined, the opponent on the same problems
    "JPO, known problems": ("JointLast", "JointRefined", "BFGS"),
    "JPO, unseen problems": ("JointUnseen", "JointUnseenRefined", "BFGSUnseen"),
    "supervised, unseen problems": ("SupervisedUnseen", "SupervisedUnseenRefined", "BFGSUnseen"),
}
OPPONENTS = {"one run of BFGS": "BFGSUnseen", "multi-start BFGS": "MultiStartUnseen"}


def runs_of(study: xr.Dataset, solver: str) -> np.ndarray:
    """Which problems were solved, shape (data seeds, network seeds, problems), for a study with one n."""
    return (
        study.solved.sel(solver=solver).transpose("data_seed", "network_seed", "problem").values.astype(float)
    )


def difference(study: xr.Dataset, first: str, second: str, num_resamples: int = 500) -> dict[str, Any]:
    """Solved rate of one solver minus that of another, with a 95 % interval over seeds and problems.

    Seeds are drawn again together for both; problems too when both solved the same ones, and apart when one
    solved known problems and the other unseen ones.

    Arguments:
        study: for one n: solved (data_seed, solver, network_seed, problem).
        first, second: names of solvers.
        num_resamples: number of draws.
    Returns:
        {"value", "low", "high", "words"}; the words are "more", "fewer" or "as many, as far as we can tell".
    """
    a, b = (runs_of(study, name) for name in (first, second))
    same = ("Unseen" in first) == ("Unseen" in second)

    def gap(data, networks, problems, others=None) -> float:
        others = problems if others is None else others
        return a[np.ix_(data, networks, problems)].mean() - b[np.ix_(data, networks, others)].mean()

    low, high = resampled_interval(gap, a.shape if same else (*a.shape, a.shape[-1]), num_resamples)
    words = "more" if low > MARGIN else "fewer" if high < -MARGIN else "as many, as far as we can tell"
    return {"value": float(a.mean() - b.mean()), "low": low, "high": high, "words": words}


def text(found: Mapping[str, Any]) -> str:
    """A difference as text."""
    return f"{found['value']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"


def rate(study: xr.Dataset, solver: str) -> Rate:
    """Solved problems of one solver over all seeds. What does not depend on the network is counted once."""
    solved = study.solved.sel(solver=solver)
    if solver.startswith(("BFGS", "MultiStart")):
        solved = solved.isel(network_seed=0)
    return Rate(int(solved.sum()), int(solved.size))


def table_rows(title: str, study: xr.Dataset) -> list[list[str]]:
    """A row for each n and kind of answer, see `HEADER`, and one for each opponent."""
    rows = []
    for n in study.group_size.values:
        one = study.sel(group_size=n)
        for name, (raw, refined, opponent) in ANSWERS.items():
            arrays = [
                one[kind].sel(solver=solver).values
                for solver in (refined, opponent)
                for kind in ("loss", "solved")
            ]
            signs = outcome(*arrays)
            training = float(one.num_training_evaluations.sel(solver=refined).mean())
            total = float(one.num_evaluations.sel(solver=refined).mean())
            refinement = total - training if refined == "JointRefined" else total
            rows.append(
                [
                    title,
                    str(n),
                    name,
                    with_interval(rate(one, raw)),
                    with_interval(rate(one, refined)),
                    " / ".join(percent(float(np.mean(signs == sign))) for sign in (1, 0, -1)),
                    f"{training:.1f}",
                    f"{refinement:.1f}",
                ]
            )
    first = study.isel(group_size=0)
    for name, solver in OPPONENTS.items():
        signs = outcome(
            *(first[kind].sel(solver=s).values for s in (solver, "BFGSUnseen") for kind in ("loss", "solved"))
        )
        rows.append(
            [
                title,
                "",
                f"{name}, unseen problems",
                "",
                with_interval(rate(first, solver)),
                " / ".join(percent(float(np.mean(signs == sign))) for sign in (1, 0, -1)),
                "",
                f"{float(first.num_evaluations.sel(solver=solver).mean()):.1f}",
            ]
        )
    return rows


def findings(study: xr.Dataset) -> dict[str, str]:
    """Numbers of one experiment for the text of its page."""
    large, small = study.sel(group_size=study.group_size.max()), study.sel(group_size=study.group_size.min())

    def error(solver, threshold):
        return float((large.loss.sel(solver=solver) / large[threshold]).median())

    values = {
        "n-max": int(large.group_size),
        "n-min": int(small.group_size),
        "problems": study.sizes["problem"],
        "data-seeds": study.sizes["data_seed"],
        "network-seeds": study.sizes["network_seed"],
        "raw-gap": text(difference(large, "JointLast", "JointUnseen")),
        "raw-gap-min": text(difference(small, "JointLast", "JointUnseen")),
        "gap": text(difference(large, "JointRefined", "JointUnseenRefined")),
        "gap-min": text(difference(small, "JointRefined", "JointUnseenRefined")),
        "supervised": text(difference(large, "JointUnseenRefined", "SupervisedUnseenRefined")),
        "supervised-words": difference(large, "JointUnseenRefined", "SupervisedUnseenRefined")["words"],
        "supervised-raw": text(difference(large, "JointUnseen", "SupervisedUnseen")),
        "bfgs": text(difference(large, "JointUnseenRefined", "BFGSUnseen")),
        "restarts": text(difference(large, "JointUnseenRefined", "MultiStartUnseen")),
        "restarts-words": difference(large, "JointUnseenRefined", "MultiStartUnseen")["words"],
        "restarts-cost": f"{float(large.num_evaluations.sel(solver='MultiStartUnseen').mean()):.0f}",
        "unseen-cost": f"{float(large.num_evaluations.sel(solver='JointUnseenRefined').mean()):.0f}",
        "known-cost": f"{float(large.num_evaluations.sel(solver='JointRefined').mean()):.0f}",
        "supervised-cost": f"{float(large.num_evaluations.sel(solver='SupervisedRefined').mean()):.0f}",
        "error-known": f"{error('JointLast', 'threshold'):.2g}",
        "error-unseen": f"{error('JointUnseen', 'threshold_unseen'):.2g}",
        "error-supervised": f"{error('SupervisedUnseen', 'threshold_unseen'):.2g}",
    }
    for name, solver in (
        ("known-solved", "JointRefined"),
        ("unseen-solved", "JointUnseenRefined"),
        ("supervised-solved", "SupervisedUnseenRefined"),
        ("restarts-solved", "MultiStartUnseen"),
        ("bfgs-solved", "BFGSUnseen"),
    ):
        values[name] = with_interval(rate(large, solver))
    return {name: str(value) for name, value in values.items()}


def findings_rows(runs: Mapping[str, xr.Dataset]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what the page says for the largest n of each experiment."""
    header = ["with the largest n", *runs]
    lines = {
        "n": "n-max",
        "known problems, JPO refined": "known-solved",
        "unseen problems, JPO refined": "unseen-solved",
        "gap between them": "gap",
        "gap of the raw answers": "raw-gap",
        "unseen, supervised and refined": "supervised-solved",
        "JPO minus supervised, unseen, refined": "supervised",
        "JPO minus supervised, unseen, raw": "supervised-raw",
        "JPO minus one run of BFGS, unseen": "bfgs",
        "JPO minus multi-start BFGS, unseen": "restarts",
        "evaluations per known problem, JPO refined (training counted)": "known-cost",
        "evaluations per problem of the data, supervised and refined (pairs counted)": "supervised-cost",
        "evaluations per unseen problem, JPO refined (training not counted)": "unseen-cost",
        "evaluations per unseen problem, multi-start BFGS": "restarts-cost",
    }
    found = {name: findings(study) for name, study in runs.items()}
    return header, [[line, *(found[name][key] for name in runs)] for line, key in lines.items()]
