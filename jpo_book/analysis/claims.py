"""Verdicts on the paper's claims, computed from results.

The rules stand in `jpo_book.analysis.rules`, in words and with a version.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jpo_book import studies
from jpo_book.analysis import rules
from jpo_book.analysis.costs import cost_of_draw, everything, resampled_costs
from jpo_book.analysis.resample import by_run, interval_of_mean
from jpo_book.analysis.theory import FAR, agreement_with_theory
from jpo_book.files import studies_folder
from jpo_book.names import EXPERIMENTS
from jpo_book.words import percent
from jpo_lib.metrics import outcome

COST_STUDIES = {  # study: experiment; the profile decides which of them are run
    "wave_packet_cost": "wave_packet",
    "billiards_cost": "billiards",
    "kuramoto_sivashinsky_t40": "kuramoto_sivashinsky",
    "navier_stokes_cost": "navier_stokes",
}
THEORY_CHAPTER, COST_CHAPTER = "02_gradient_alignment", "07_when_it_pays"
GENERALIZATION_CHAPTER = "09_generalization"
Study = tuple[Any, xr.Dataset, list[dict[str, str]]]


def page_record(root: Path, page: str) -> dict[str, Any] | None:
    """What an executed page says about itself: its parameters and result files;
    None if it was not executed."""
    path = root / "book" / "_executed" / f"{page}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))["metadata"].get("jpo", {}) if path.is_file() else None


def load_study(root: Path, record: dict[str, Any] | None, study: str) -> Study | None:
    """The study behind a page: classical results (None where it has none), those of networks, and the files;
    None if it was not run.

    Arguments:
        root: folder of the repository.
        record: of the page, see `page_record`.
        study: its name.
    """
    if record is None or study not in studies.STUDIES:
        return None
    known = ("profile", "seed", "num_problems", "group_sizes")
    given = {name: value for name, value in record.get("parameters", {}).items() if name in known}
    cells, folders = studies.plan(study, **given), (studies_folder(), root / "results")
    if not cells or not all(any(studies.check(c, folder) == "valid" for folder in folders) for c in cells):
        return None
    classical, joint = studies.combine_variants(cells, studies.load_or_run(cells, quiet=True))[""]
    return classical, joint, [r for r in record.get("results", []) if f"/{study}/" in r["path"]]


def _enough_seeds(joint: xr.Dataset) -> bool:
    return (
        joint.sizes["data_seed"] >= rules.LEAST_DATA_SEEDS
        and joint.sizes["network_seed"] >= rules.LEAST_NETWORK_SEEDS
    )


def judge_advantage(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C1 in one experiment, and the number of the fair opponent."""
    refined = joint.sel(group_size=joint.group_size.max(), solver="JointRefined", drop=True)
    bfgs, restarts = (classical.sel(solver=name, drop=True) for name in ("BFGS", "MultiStart"))
    pair = xr.broadcast(refined.loss, refined.solved, bfgs.loss, bfgs.solved)
    signs = by_run(pair[0].copy(data=outcome(*pair)))
    theirs, own = (
        (percent(float(one.solved.mean())), f"{float(one.num_evaluations.mean()):.0f}")
        for one in (restarts, refined)
    )
    return {
        "effect": float(signs.mean()),
        "interval": interval_of_mean(signs),
        "enough_seeds": _enough_seeds(joint),
        "baseline": f"multi-start BFGS solves {theirs[0]} with {theirs[1]} evaluations per problem; "
        f"refined JPO {own[0]} with {own[1]}",
    }


def judge_growth(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C2 in one experiment."""
    solved = joint.solved.sel(solver="JointRefined", drop=True).astype(float)
    largest, smallest = (
        solved.sel(group_size=n, drop=True) for n in (joint.group_size.max(), joint.group_size.min())
    )
    difference = by_run(largest - smallest)
    untrained = float(joint.solved.sel(solver="NetworkStart").mean())
    return {
        "effect": float(difference.mean()),
        "interval": interval_of_mean(difference),
        "enough_seeds": _enough_seeds(joint),
        "baseline": f"the untrained network with BFGS solves {percent(untrained)}, whatever n",
    }


def judge_cost(classical: xr.Dataset, joint: xr.Dataset, num_resamples: int = 500) -> dict[str, Any]:
    """Effect and interval of C5 in one experiment:
    how many times cheaper refined JPO with the largest n solves.

    Seeds and problems are drawn again with replacement. Zero stands for JPO that never solves so many,
    infinity for restarts that never do; then "words" says who does not,
    since a ratio of two costs says nothing.
    """
    largest = joint.sel(group_size=joint.group_size.max(), drop=True)
    refined, restarts = (
        largest.sel(solver="JointRefined", drop=True),
        classical.sel(solver="MultiStart", drop=True),
    )
    training = largest.num_evaluations.sel(solver="Joint", drop=True)
    rival_cost = cost_of_draw(restarts, rules.COST_LEVEL)
    own_cost = cost_of_draw(refined, rules.COST_LEVEL, training)

    def ratio(*drawn) -> float:
        rival, own = rival_cost(*drawn), own_cost(*drawn)
        return 0.0 if np.isnan(own) else np.inf if np.isnan(rival) else rival / own

    sample = everything(joint)
    failed = (bool(np.isnan(rival_cost(*sample))), bool(np.isnan(own_cost(*sample))))
    who = {
        (True, True): "neither multi-start BFGS nor refined JPO solves",
        (True, False): "only refined JPO solves",
        (False, True): "only multi-start BFGS solves",
    }.get(failed)
    theirs, own = (percent(float(one.solved.mean())) for one in (restarts, refined))
    return {
        "effect": ratio(*sample),
        "interval": resampled_costs(ratio, joint, num_resamples),
        "enough_seeds": _enough_seeds(joint),
        "words": f"{who} {percent(rules.COST_LEVEL)} of the problems in all its runs" if who else None,
        "baseline": f"multi-start BFGS solves {theirs} in all, "
        f"refined JPO with n = {int(joint.group_size.max())} {own}",
    }


def _number(value: float) -> float | str:
    """A number as the ledger holds it: JSON knows no infinity."""
    return value if np.isfinite(value) else "infinite"


def _effect(judged: dict[str, Any]) -> dict[str, Any]:
    return {
        "effect": _number(judged["effect"]),
        "interval": [_number(bound) for bound in judged["interval"]],
        "words": judged.get("words"),
    }


def _planned(claim: str, files: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """A claim of which nothing was run yet."""
    nothing = dict.fromkeys(("effect", "interval", "fair_baseline"))
    rule = f"{rules.RULES[claim]} (Rules, version {rules.RULES_VERSION}.)"
    return {"id": claim, "rule": rule, "results": list(files), "verdict": "planned", **nothing}


def _verdict(supporting: int, total: int, enough: float = 1) -> str:
    """In words: all are for the claim, at least so many, or fewer."""
    if supporting == total:
        return "reproduced"
    return "partly" if supporting >= enough else "not reproduced"


def over_experiments(
    claim: str,
    problems: Sequence[str],
    judged: dict[str, dict[str, Any]],
    files: Sequence[dict[str, str]] = (),
) -> dict[str, Any]:
    """The verdict on a claim from what was judged for each experiment, by the rule of that claim."""
    run = [p for p in problems if p in judged]
    if not run:
        return _planned(claim, files)

    def titles(chosen):
        return ", ".join(EXPERIMENTS[p].title for p in chosen)

    scarce = [p for p in run if not judged[p]["enough_seeds"]]
    missing = [p for p in problems if p not in run]
    supporting = sum(judged[p]["interval"][0] > rules.THRESHOLDS[claim] for p in run)
    least = min(run, key=lambda p: judged[p]["effect"])
    which = (
        "This is the smallest of the experiments run, that of"
        if len(run) > 1
        else "It is that of the only experiment run so far,"
    )
    note = f"The effect is {rules.EFFECTS[claim]}. {which} {titles([least])}."
    if missing:
        note += f" Not run yet: {titles(missing)}."
    if scarce:
        note += (
            f" No verdict, since fewer than {rules.LEAST_DATA_SEEDS} data sets or "
            f"{rules.LEAST_NETWORK_SEEDS} networks each were run for: {titles(scarce)}."
        )
    return {
        **_planned(claim, files),
        "verdict": "out of budget" if scarce else _verdict(supporting, len(problems)),
        **_effect(judged[least]),
        "note": note,
        "by_experiment": {p: {"title": titles([p]), **_effect(judged[p])} for p in run},
        "fair_baseline": "; ".join(f"{titles([p])}: {judged[p]['baseline']}" for p in run),
    }


def judge_theory(record: dict[str, Any] | None) -> dict[str, Any]:
    """The verdict on C4, from the points of Figure 2; planned where no page or profile asks for them."""
    given = {} if record is None else record.get("parameters", {})
    if "profile" not in given:
        return _planned("C4")
    found = agreement_with_theory(given["profile"], given.get("seed", 0), given.get("num_seeds"))
    return {
        **_planned("C4"),
        "verdict": _verdict(found["inside"], found["points"], 0.9 * found["points"]),
        "effect": found["largest_z"],
        "note": "The largest distance between measurement and theory, in standard errors. "
        f"{found['inside']} of {found['points']} points lie within {FAR}. "
        f"Each point is a mean over {found['num_seeds']} seeds.",
        "fair_baseline": "does not apply: theory and measurement are compared, not solvers",
    }


def verdicts(root: Path | str, profile: str | None = None) -> list[dict[str, Any]]:
    """The verdicts on claims C1 to C5 from the result files below `root`.

    Each has id, verdict ("reproduced", "partly", "not reproduced", "out of budget" or "planned"), effect,
    interval, fair_baseline, rule, and results, the files it rests on.

    Arguments:
        root: folder of the repository.
        profile: whose results are judged; when None each page's own parameters,
            as the executed pages record them.
    """
    root = Path(root)

    def record(page):
        return {"parameters": {"profile": profile}} if profile else page_record(root, page)

    advantage, growth, costs, files, cost_files = {}, {}, {}, {}, {}
    for problem, experiment in EXPERIMENTS.items():
        loaded = load_study(root, record(experiment.page), problem)
        if loaded is not None:
            classical, joint, files[problem] = loaded
            advantage[problem] = judge_advantage(classical, joint)
            if joint.sizes["group_size"] > 1:
                growth[problem] = judge_growth(classical, joint)
    for study, problem in COST_STUDIES.items():
        loaded = load_study(root, record(COST_CHAPTER), study)
        if loaded is not None:
            classical, joint, cost_files[problem] = loaded
            costs[problem] = judge_cost(classical, joint)

    unseen = []
    for problem, experiment in EXPERIMENTS.items():
        loaded = load_study(root, record(GENERALIZATION_CHAPTER), f"{problem}_generalization")
        if loaded is not None:
            solved = loaded[1].solved.sel(group_size=loaded[1].group_size.max())
            known, others = (
                percent(float(solved.sel(solver=name).mean()))
                for name in ("JointRefined", "JointUnseenRefined")
            )
            unseen.append(f"{experiment.title} {known} of the known and {others} of the unseen problems")
            cost_files[problem] = [*cost_files.get(problem, []), *loaded[2]]

    def used(source, problems):
        return [entry for p in problems for entry in source.get(p, [])]

    four, kinds = list(EXPERIMENTS), ["wave_packet", "billiards", "kuramoto_sivashinsky"]
    known_data = over_experiments("C5", list(costs) or four, costs, used(cost_files, four))
    if costs and unseen:
        known_data["note"] += (
            f" Networks trained on the largest n solve, after refinement: {'; '.join(unseen)}. "
            "Equal rates mean that they serve as well for new data."
        )
    return [
        over_experiments("C1", four, advantage, used(files, four)),
        over_experiments("C2", four, growth, used(files, four)),
        over_experiments("C3", kinds, advantage, used(files, kinds)),
        judge_theory(record(THEORY_CHAPTER)),
        known_data,
    ]
