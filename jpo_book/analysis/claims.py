"""Verdicts on the paper's claims, computed from the results that the executed pages were made of.

The rules stand in `jpo_book.analysis.rules`, in words and with a version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jpo_book import studies
from jpo_book.analysis.resample import bootstrap_interval, resampled_interval
from jpo_book.analysis.rules import (
    COST_LEVEL,
    EFFECTS,
    LEAST_DATA_SEEDS,
    LEAST_NETWORK_SEEDS,
    RULES,
    RULES_VERSION,
    THRESHOLDS,
)
from jpo_book.files import studies_folder
from jpo_book.names import EXPERIMENTS
from jpo_book.words import percent
from jpo_lib.metrics import cost_to_solve, outcome

COST_STUDIES = {  # study: experiment; the profile decides which of them are run
    "wave_packet_cost": "wave_packet",
    "billiards_cost": "billiards",
    "kuramoto_sivashinsky_t40": "kuramoto_sivashinsky",
    "navier_stokes_cost": "navier_stokes",
}
COST_CHAPTER, GENERALIZATION_CHAPTER = "07_when_it_pays", "09_generalization"


def _executed(root: Path, stem: str) -> dict[str, Any] | None:
    path = root / "book" / "_executed" / f"{stem}.ipynb"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def load_study(
    root: Path, stem: str, study: str
) -> tuple[xr.Dataset | None, xr.Dataset, list[dict[str, str]]] | None:
    """The study behind an executed page: classical results (None where it has none), those of networks, and the files;
    None if it was not run."""
    notebook = _executed(root, stem)
    if notebook is None or study not in studies.STUDIES:
        return None
    record = notebook["metadata"].get("jpo", {})
    parameters = {
        k: v
        for k, v in record.get("parameters", {}).items()
        if k in ("profile", "seed", "num_problems", "group_sizes")
    }
    cells = studies.plan(study, **parameters)
    folder = studies_folder()
    if not cells or any(
        studies.check(cell, folder) != "valid" and studies.check(cell, root / "results") != "valid"
        for cell in cells
    ):
        return None
    loaded = studies.load_or_run(cells, quiet=True)
    return (
        *studies.combine_variants(cells, loaded)[""],
        [r for r in record.get("results", []) if f"/{study}/" in r["path"]],
    )


def _runs(values: xr.DataArray) -> np.ndarray:
    return values.transpose("data_seed", "network_seed", "problem").values.reshape(
        -1, values.sizes["problem"]
    )


def _enough_seeds(joint: xr.Dataset) -> bool:
    return joint.sizes["data_seed"] >= LEAST_DATA_SEEDS and joint.sizes["network_seed"] >= LEAST_NETWORK_SEEDS


def judge_advantage(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C1 in one experiment, and the number of the fair opponent."""
    refined = joint.sel(group_size=joint.group_size.max(), solver="JointRefined", drop=True)
    bfgs = classical.sel(solver="BFGS", drop=True)
    loss, solved, reference_loss, reference_solved = xr.broadcast(
        refined.loss, refined.solved, bfgs.loss, bfgs.solved
    )
    signs = _runs(xr.zeros_like(loss) + outcome(loss, solved, reference_loss, reference_solved))
    restarts = classical.sel(solver="MultiStart", drop=True)
    return {
        "effect": float(signs.mean()),
        "interval": bootstrap_interval(signs),
        "enough_seeds": _enough_seeds(joint),
        "baseline": f"multi-start BFGS solves {percent(float(restarts.solved.mean()))} with {float(restarts.num_evaluations.mean()):.0f} evaluations "
        f"per problem; refined JPO {percent(float(refined.solved.mean()))} with {float(refined.num_evaluations.mean()):.0f}",
    }


def judge_growth(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C2 in one experiment."""
    solved = joint.solved.sel(solver="JointRefined", drop=True).astype(float)
    difference = _runs(
        solved.sel(group_size=joint.group_size.max(), drop=True)
        - solved.sel(group_size=joint.group_size.min(), drop=True)
    )
    untrained = float(joint.solved.sel(solver="NetworkStart").mean())
    return {
        "effect": float(difference.mean()),
        "interval": bootstrap_interval(difference),
        "enough_seeds": _enough_seeds(joint),
        "baseline": f"the untrained network with BFGS solves {percent(untrained)}, whatever n",
    }


def judge_cost(classical: xr.Dataset, joint: xr.Dataset, num_resamples: int = 500) -> dict[str, Any]:
    """Effect and interval of C5 in one experiment: how many times cheaper refined JPO with the largest n solves the problems.

    Seeds and problems are drawn again with replacement. Zero stands for JPO that never solves so many, infinity for
    restarts that never do; then "words" says who does not, since a ratio of two costs says nothing.
    """
    largest = joint.sel(group_size=joint.group_size.max())
    order = ("data_seed", "network_seed", "problem")
    refined = largest.sel(solver="JointRefined", drop=True)
    at, total = (refined[name].transpose(*order).values for name in ("solved_at", "num_evaluations"))
    training = largest.num_evaluations.sel(solver="Joint", drop=True).transpose(*order).values
    restarts = classical.sel(solver="MultiStart", drop=True)
    rival_at, rival_total = (
        restarts[name].transpose("data_seed", "problem").values for name in ("solved_at", "num_evaluations")
    )

    def both_costs(data, networks, problems) -> tuple[float, float]:
        return (
            np.mean(
                [
                    cost_to_solve(rival_at[d][problems], rival_total[d][problems], 0.0, COST_LEVEL)
                    for d in data
                ]
            ),
            np.mean(
                [
                    cost_to_solve(
                        at[d, s][problems], total[d, s][problems], training[d, s][problems], COST_LEVEL
                    )
                    for d in data
                    for s in networks
                ]
            ),
        )

    def ratio(rival: float, own: float) -> float:
        return 0.0 if np.isnan(own) else np.inf if np.isnan(rival) else float(rival / own)

    interval = resampled_interval(
        lambda *drawn: ratio(*both_costs(*drawn)), at.shape, num_resamples, method="nearest"
    )
    measured = both_costs(range(at.shape[0]), range(at.shape[1]), slice(None))
    who = {
        (True, True): "neither multi-start BFGS nor refined JPO solves",
        (True, False): "only refined JPO solves",
        (False, True): "only multi-start BFGS solves",
    }.get((bool(np.isnan(measured[0])), bool(np.isnan(measured[1]))))
    return {
        "effect": ratio(*measured),
        "interval": interval,
        "enough_seeds": _enough_seeds(joint),
        "words": f"{who} {percent(COST_LEVEL)} of the problems in all its runs" if who else None,
        "baseline": f"multi-start BFGS solves {percent(float(restarts.solved.mean()))} in all, refined JPO with n = {int(joint.group_size.max())} "
        f"{percent(float(refined.solved.mean()))}",
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


def _over_experiments(
    claim: str, problems: list[str], judged: dict[str, dict[str, Any]], files: list[dict[str, str]]
) -> dict[str, Any]:
    run = [p for p in problems if p in judged]
    base = {"id": claim, "rule": f"{RULES[claim]} (Rules, version {RULES_VERSION}.)", "results": files}
    if not run:
        return {**base, "verdict": "planned", "effect": None, "interval": None, "fair_baseline": None}
    scarce = [p for p in run if not judged[p]["enough_seeds"]]
    supporting = [p for p in run if judged[p]["interval"][0] > THRESHOLDS[claim]]
    if scarce:
        verdict = "out of budget"
    elif len(supporting) == len(problems):
        verdict = "reproduced"
    else:
        verdict = "partly" if supporting else "not reproduced"
    missing = [EXPERIMENTS[p][1] for p in problems if p not in run]
    least = min(run, key=lambda p: judged[p]["effect"])
    note = f"The effect is {EFFECTS[claim]}. " + (
        f"This is the smallest of the experiments run, that of {EXPERIMENTS[least][1]}."
        if len(run) > 1
        else f"It is that of the only experiment run so far, {EXPERIMENTS[least][1]}."
    )
    if missing:
        note += f" Not run yet: {', '.join(missing)}."
    if scarce:
        note += (
            f" No verdict, since fewer than {LEAST_DATA_SEEDS} data sets or {LEAST_NETWORK_SEEDS} networks each were run for: "
            f"{', '.join(EXPERIMENTS[p][1] for p in scarce)}."
        )
    return {
        **base,
        "verdict": verdict,
        **_effect(judged[least]),
        "note": note,
        "by_experiment": {p: {"title": EXPERIMENTS[p][1], **_effect(judged[p])} for p in run},
        "fair_baseline": "; ".join(f"{EXPERIMENTS[p][1]}: {judged[p]['baseline']}" for p in run),
    }


def _glued(notebook: dict[str, Any], name: str) -> str | None:
    """A number that an executed page stored with `glue`."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("scrapbook", {}).get("name") == name:
                text = next(value for kind, value in output["data"].items() if kind.endswith("text/plain"))
                return "".join(text).strip("'\"")
    return None


def _alignment(root: Path) -> dict[str, Any]:
    base = {"id": "C4", "rule": f"{RULES['C4']} (Rules, version {RULES_VERSION}.)", "results": []}
    notebook = _executed(root, "02_gradient_alignment")
    names = (
        "num-points",
        "num-points-inside",
        "num-seeds",
        "largest-z-a",
        "largest-z-b",
        "largest-z-c",
        "largest-z-d",
    )
    values = {name: _glued(notebook, name) for name in names} if notebook else {}
    if not values or any(value is None for value in values.values()):
        return {**base, "verdict": "planned", "effect": None, "interval": None, "fair_baseline": None}
    total, inside = int(values["num-points"]), int(values["num-points-inside"])
    return {
        **base,
        "verdict": "reproduced"
        if inside == total
        else "partly"
        if inside >= 0.9 * total
        else "not reproduced",
        "effect": max(float(values[name]) for name in names if name.startswith("largest-z")),
        "interval": None,
        "note": f"The largest distance between measurement and theory, in standard errors. {inside} of {total} points lie within 4. "
        f"Each point is a mean over {values['num-seeds']} seeds.",
        "fair_baseline": "does not apply: theory and measurement are compared, not solvers",
    }


def verdicts(root: Path | str) -> list[dict[str, Any]]:
    """The verdicts on claims C1 to C5 from the executed pages and result files below `root`.

    Each has id, verdict ("reproduced", "partly", "not reproduced" or "planned"), effect, interval, fair_baseline,
    rule, and results, the files it rests on.
    """
    root = Path(root)
    advantage, growth, costs, files, cost_files = {}, {}, {}, {}, {}
    for problem, (stem, _) in EXPERIMENTS.items():
        loaded = load_study(root, stem, problem)
        if loaded is not None:
            classical, joint, files[problem] = loaded
            advantage[problem] = judge_advantage(classical, joint)
            if joint.sizes["group_size"] > 1:
                growth[problem] = judge_growth(classical, joint)
    for study, problem in COST_STUDIES.items():
        loaded = load_study(root, COST_CHAPTER, study)
        if loaded is not None:
            classical, joint, cost_files[problem] = loaded
            costs[problem] = judge_cost(classical, joint)

    unseen = []
    for problem, (_, title) in EXPERIMENTS.items():
        loaded = load_study(root, GENERALIZATION_CHAPTER, f"{problem}_generalization")
        if loaded is not None:
            solved = loaded[1].solved.sel(group_size=loaded[1].group_size.max())
            known, others = (
                percent(float(solved.sel(solver=name).mean()))
                for name in ("JointRefined", "JointUnseenRefined")
            )
            unseen.append(f"{title} {known} of the known and {others} of the unseen problems")
            cost_files[problem] = [*cost_files.get(problem, []), *loaded[2]]

    def used(source, problems):
        return [entry for p in problems for entry in source.get(p, [])]

    everything, kinds = list(EXPERIMENTS), ["wave_packet", "billiards", "kuramoto_sivashinsky"]
    known_data = _over_experiments("C5", list(costs) or everything, costs, used(cost_files, everything))
    if costs and unseen:
        known_data["note"] += (
            f" Networks trained on the largest n solve, after refinement: {'; '.join(unseen)}. Equal rates mean that they serve as well for new data."
        )
    return [
        _over_experiments("C1", everything, advantage, used(files, everything)),
        _over_experiments("C2", everything, growth, used(files, everything)),
        _over_experiments("C3", kinds, advantage, used(files, kinds)),
        _alignment(root),
        known_data,
    ]
