"""Verdicts on the paper's claims, computed from the results that the executed pages were made of.

The rules stand in `RULES`, in words, beside the code that applies them, and carry a version: a rule is written
before the results it judges, and a change of it is visible.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jpo_lib import study as studies
from jpo_lib.costs import cost_to_solve
from jpo_lib.metrics import outcome
from jpo_lib.reporting import percent

RULES_VERSION = 2
EXPERIMENTS = {
    "wave_packet": ("03_wave_packet", "wave packet"),
    "billiards": ("04_billiards", "billiards"),
    "kuramoto_sivashinsky": ("05_kuramoto_sivashinsky", "Kuramoto–Sivashinsky"),
    "navier_stokes": ("06_navier_stokes", "Navier–Stokes"),
}
COST_STUDIES = {  # study: experiment; the profile decides which of them are run
    "wave_packet_cost": "wave_packet", "billiards_cost": "billiards",
    "kuramoto_sivashinsky_t40": "kuramoto_sivashinsky", "navier_stokes_cost": "navier_stokes",
}
COST_CHAPTER, GENERALIZATION_CHAPTER = "07_when_it_pays", "09_generalization"
COST_LEVEL = 0.9
MARGIN = 0.02  # an advantage smaller than this is no advantage
LEAST_DATA_SEEDS, LEAST_NETWORK_SEEDS = 2, 3  # with fewer, nothing is said
RULES = {
    "C1": (
        "For each experiment: refined JPO with the largest n against one run of BFGS, on the problems it was trained on. "
        f"Effect: fraction better minus fraction worse. It counts for the claim when the 95 % interval lies above {MARGIN}, "
        "and against it when the interval lies below that. Reproduced: for, in all four experiments. Not reproduced: for in none of those run. "
        "Partly: everything else, also while experiments are missing. "
        f"Out of budget: a run with fewer than {LEAST_DATA_SEEDS} data sets or {LEAST_NETWORK_SEEDS} networks each, such as that of the smoke profile."
    ),
    "C2": (
        "For each experiment: solved rate of refined JPO with the largest n minus that with n = 1. "
        f"It counts for the claim when the 95 % interval lies above {MARGIN}. The verdicts follow as for C1."
    ),
    "C3": (
        "The rule of C1 for the three kinds of landscape: wave packet (many local minima), billiards (zero gradients) and "
        "Kuramoto–Sivashinsky (chaos). Reproduced: for, in all three. Not reproduced: for in none of those run. Partly: everything else. "
        "Out of budget: as for C1."
    ),
    "C4": (
        "Every measured point of Figure 2 is compared with theory. Reproduced when all lie within 4 standard errors, "
        "partly when at least nine in ten do, not reproduced otherwise."
    ),
    "C5": (
        "For each experiment with a study of costs: the evaluations per problem that multi-start BFGS needs until "
        f"{100 * COST_LEVEL:g} % of the known problems are solved, divided by those of refined JPO with the largest n, its training counted in full. "
        "It counts for the claim when the 95 % interval lies above 1: the network is then the cheaper optimizer for data that are there. "
        "Reproduced: for, in all experiments with such a study. Not reproduced: for in none. Partly: everything else. Out of budget: as for C1."
    ),
}


EFFECTS = {
    "C1": "the fraction of problems on which refined JPO is better than BFGS, minus the fraction on which it is worse",
    "C2": "the solved rate with the largest n minus that with n = 1",
    "C3": "the fraction of problems on which refined JPO is better than BFGS, minus the fraction on which it is worse",
    "C5": f"the cost of solving {100 * COST_LEVEL:g} % of the problems by multi-start BFGS, divided by that of refined JPO with the largest n",
}
THRESHOLDS = {"C1": MARGIN, "C2": MARGIN, "C3": MARGIN, "C5": 1.0}  # an interval above this counts for the claim


def bootstrap_interval(values: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean, num_resamples: int = 2000) -> tuple[float, float]:
    """95 % interval of a mean over runs and problems: both are drawn again with replacement.

    Arguments:
        values: shape (runs, problems); a run is one pair of data seed and network seed.
        statistic: function of such an array.
        num_resamples: number of draws.
    Returns:
        the 2.5 and 97.5 percentiles, unit of the statistic.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, doi:10.1201/9780429246593.
    """
    generator = np.random.default_rng(0)
    runs, problems = values.shape
    draws = [
        statistic(values[np.ix_(generator.integers(runs, size=runs), generator.integers(problems, size=problems))])
        for _ in range(num_resamples)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _executed(root: Path, stem: str) -> dict[str, Any] | None:
    path = root / "book" / "_executed" / f"{stem}.ipynb"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def load_study(root: Path, stem: str, study: str) -> tuple[xr.Dataset | None, xr.Dataset, list[dict[str, str]]] | None:
    """The study behind an executed page: classical results (None where it has none), those of networks, and the files;
    None if it was not run."""
    notebook = _executed(root, stem)
    if notebook is None or study not in studies.STUDIES:
        return None
    record = notebook["metadata"].get("jpo", {})
    parameters = {k: v for k, v in record.get("parameters", {}).items() if k in ("profile", "seed", "num_problems", "group_sizes")}
    cells = studies.plan(study, **parameters)
    folder = studies.studies_folder()
    if not cells or any(studies.check(cell, folder) != "valid" and studies.check(cell, root / "results") != "valid" for cell in cells):
        return None
    loaded = studies.load_or_run(cells, quiet=True)
    return (*studies.combine_variants(cells, loaded)[""], [r for r in record.get("results", []) if f"/{study}/" in r["path"]])


def _runs(values: xr.DataArray) -> np.ndarray:
    return values.transpose("data_seed", "network_seed", "problem").values.reshape(-1, values.sizes["problem"])


def _enough_seeds(joint: xr.Dataset) -> bool:
    return joint.sizes["data_seed"] >= LEAST_DATA_SEEDS and joint.sizes["network_seed"] >= LEAST_NETWORK_SEEDS


def judge_advantage(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C1 in one experiment, and the number of the fair opponent."""
    refined = joint.sel(group_size=joint.group_size.max(), solver="JointRefined", drop=True)
    bfgs = classical.sel(solver="BFGS", drop=True)
    loss, solved, reference_loss, reference_solved = xr.broadcast(refined.loss, refined.solved, bfgs.loss, bfgs.solved)
    signs = _runs(xr.zeros_like(loss) + outcome(loss, solved, reference_loss, reference_solved))
    restarts = classical.sel(solver="MultiStart", drop=True)
    return {
        "effect": float(signs.mean()), "interval": bootstrap_interval(signs), "enough_seeds": _enough_seeds(joint),
        "baseline": f"multi-start BFGS solves {percent(float(restarts.solved.mean()))} with {float(restarts.num_evaluations.mean()):.0f} evaluations "
                    f"per problem; refined JPO {percent(float(refined.solved.mean()))} with {float(refined.num_evaluations.mean()):.0f}",
    }


def judge_growth(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C2 in one experiment."""
    solved = joint.solved.sel(solver="JointRefined", drop=True).astype(float)
    difference = _runs(solved.sel(group_size=joint.group_size.max(), drop=True) - solved.sel(group_size=joint.group_size.min(), drop=True))
    untrained = float(joint.solved.sel(solver="NetworkStart").mean())
    return {
        "effect": float(difference.mean()), "interval": bootstrap_interval(difference), "enough_seeds": _enough_seeds(joint),
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
    rival_at, rival_total = (restarts[name].transpose("data_seed", "problem").values for name in ("solved_at", "num_evaluations"))

    def both_costs(data, networks, problems) -> tuple[float, float]:
        return (np.mean([cost_to_solve(rival_at[d][problems], rival_total[d][problems], 0.0, COST_LEVEL) for d in data]),
                np.mean([cost_to_solve(at[d, s][problems], total[d, s][problems], training[d, s][problems], COST_LEVEL)
                         for d in data for s in networks]))

    def ratio(rival: float, own: float) -> float:
        return 0.0 if np.isnan(own) else np.inf if np.isnan(rival) else float(rival / own)

    num_data, num_networks, num_problems = at.shape
    generator = np.random.default_rng(0)
    draws = [ratio(*both_costs(generator.integers(num_data, size=num_data), generator.integers(num_networks, size=num_networks),
                               generator.integers(num_problems, size=num_problems))) for _ in range(num_resamples)]
    low, high = np.percentile(draws, [2.5, 97.5], method="nearest")
    measured = both_costs(range(num_data), range(num_networks), slice(None))
    who = {(True, True): "neither multi-start BFGS nor refined JPO solves", (True, False): "only refined JPO solves",
           (False, True): "only multi-start BFGS solves"}.get((bool(np.isnan(measured[0])), bool(np.isnan(measured[1]))))
    return {
        "effect": ratio(*measured), "interval": (float(low), float(high)), "enough_seeds": _enough_seeds(joint),
        "words": f"{who} {percent(COST_LEVEL)} of the problems in all its runs" if who else None,
        "baseline": f"multi-start BFGS solves {percent(float(restarts.solved.mean()))} in all, refined JPO with n = {int(joint.group_size.max())} "
                    f"{percent(float(refined.solved.mean()))}",
    }


def _number(value: float) -> float | str:
    """A number as the ledger holds it: JSON knows no infinity."""
    return value if np.isfinite(value) else "infinite"


def _effect(judged: dict[str, Any]) -> dict[str, Any]:
    return {"effect": _number(judged["effect"]), "interval": [_number(bound) for bound in judged["interval"]], "words": judged.get("words")}


def _over_experiments(claim: str, problems: list[str], judged: dict[str, dict[str, Any]], files: list[dict[str, str]]) -> dict[str, Any]:
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
    note = f"The effect is {EFFECTS[claim]}. " + (f"This is the smallest of the experiments run, that of {EXPERIMENTS[least][1]}." if len(run) > 1
                                                   else f"It is that of the only experiment run so far, {EXPERIMENTS[least][1]}.")
    if missing:
        note += f" Not run yet: {', '.join(missing)}."
    if scarce:
        note += (f" No verdict, since fewer than {LEAST_DATA_SEEDS} data sets or {LEAST_NETWORK_SEEDS} networks each were run for: "
                 f"{', '.join(EXPERIMENTS[p][1] for p in scarce)}.")
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
    names = ("num-points", "num-points-inside", "num-seeds", "largest-z-a", "largest-z-b", "largest-z-c", "largest-z-d")
    values = {name: _glued(notebook, name) for name in names} if notebook else {}
    if not values or any(value is None for value in values.values()):
        return {**base, "verdict": "planned", "effect": None, "interval": None, "fair_baseline": None}
    total, inside = int(values["num-points"]), int(values["num-points-inside"])
    return {
        **base,
        "verdict": "reproduced" if inside == total else "partly" if inside >= 0.9 * total else "not reproduced",
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
            known, others = (percent(float(solved.sel(solver=name).mean())) for name in ("JointRefined", "JointUnseenRefined"))
            unseen.append(f"{title} {known} of the known and {others} of the unseen problems")
            cost_files[problem] = [*cost_files.get(problem, []), *loaded[2]]

    def used(source, problems):
        return [entry for p in problems for entry in source.get(p, [])]

    everything, kinds = list(EXPERIMENTS), ["wave_packet", "billiards", "kuramoto_sivashinsky"]
    known_data = _over_experiments("C5", list(costs) or everything, costs, used(cost_files, everything))
    if costs and unseen:
        known_data["note"] += f" Networks trained on the largest n solve, after refinement: {'; '.join(unseen)}. Equal rates mean that they serve as well for new data."
    return [
        _over_experiments("C1", everything, advantage, used(files, everything)),
        _over_experiments("C2", everything, growth, used(files, everything)),
        _over_experiments("C3", kinds, advantage, used(files, kinds)),
        _alignment(root),
        known_data,
    ]
