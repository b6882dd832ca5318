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
from jpo_book.analysis import rules, tournament
from jpo_book.analysis.costs import cost_draws
from jpo_book.analysis.resample import ORDER, Estimate, compared, estimate, mean, weights
from jpo_book.analysis.theory import FAR, agreement_with_theory
from jpo_book.files import studies_folder
from jpo_book.names import EXPERIMENTS, TOURNAMENT
from jpo_book.words import ENOUGH_NETWORKS, percent

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
    cells = computed_cells(root, record, study)
    if not cells:
        return None
    classical, joint = studies.combine_variants(cells, studies.load_or_run(cells, quiet=True))[""]
    return classical, joint, [r for r in (record or {}).get("results", []) if f"/{study}/" in r["path"]]


def computed_cells(root: Path, record: dict[str, Any] | None, study: str) -> list[studies.Cell]:
    """The cells of a study behind a page; none if it was not run. Arguments as for `load_study`."""
    if record is None or study not in studies.STUDIES:
        return []
    known = ("profile", "seed", "num_problems", "group_sizes")
    given = {name: value for name, value in record.get("parameters", {}).items() if name in known}
    cells, folders = studies.plan(study, **given), (studies_folder(), root / "results")
    valid = all(any(studies.check(c, folder) == "valid" for folder in folders) for c in cells)
    return cells if valid else []


OPPONENTS = {  # by their names in `tournament.judgements`, in words
    "bfgs": TOURNAMENT["BFGS"],
    "restarts": TOURNAMENT["MultiStart"],
    "without-prior": "the best that needs no more than JPO",
    "of-all": "the best of all",
}


def against_opponents(root: Path, record: dict[str, Any] | None, problem: str) -> dict[str, dict[str, Any]]:
    """{the kind of opponent: how JPO does against it in an experiment}: in words, and where that was computed
    also its name, the verdict, and the difference in solved share and the ratio of prices, each with its
    interval. JSON knows no infinity: the end of an interval may be "infinite".

    Arguments:
        root: folder of the repository.
        record: of the experiment's page, see `page_record`.
        problem: name of the experiment.
    """
    cells = computed_cells(root, record, f"tournament_{problem}")
    played = tournament.by_method(cells, studies.load_or_run(cells, quiet=True)) if cells else {}
    found: dict[str, dict[str, Any]] = {each: {"words": tournament.UNKNOWN} for each in OPPONENTS.values()}
    for role, (entry, judgement) in tournament.judgements(problem, played).items():
        name = tournament.named(entry)
        words = f"{judgement.verdict}, {name} pays {tournament.ratio_words(judgement.ratio)} times as much"
        numbers = {
            part: [each.value, *(end if np.isfinite(end) else "infinite" for end in each.interval)]
            for part, each in (("difference", judgement.difference), ("ratio", judgement.ratio))
        }
        found[OPPONENTS[role]] = {"words": words, "name": name, "verdict": judgement.verdict, **numbers}
    return found


def _judged(joint: xr.Dataset, found: Estimate, baseline: str, words: str | None = None) -> dict[str, Any]:
    """What one experiment says on a claim: the effect with its interval, and what it rests on."""
    networks = joint.sizes["network_seed"]
    enough = joint.sizes["data_seed"] >= rules.LEAST_DATA_SEEDS and networks >= rules.LEAST_NETWORK_SEEDS
    basis = {"enough_seeds": enough, "networks": networks}
    return {"found": found, **basis, "baseline": baseline, "words": words}


def judge_advantage(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C1 in one experiment, and the number of the fair opponent."""
    refined = joint.sel(group_size=joint.group_size.max(), solver="JointRefined", drop=True)
    bfgs, restarts = (classical.sel(solver=name, drop=True) for name in ("BFGS", "MultiStart"))
    pair = restarts, refined
    solved = [percent(float(one.solved.mean())) for one in pair]
    spent = [f"{float(one.num_evaluations.mean()):.0f}" for one in pair]
    theirs = f"multi-start BFGS solves {solved[0]} with {spent[0]} evaluations per problem"
    baseline = f"{theirs}; refined JPO {solved[1]} with {spent[1]}"
    return _judged(joint, mean(compared(refined, bfgs)), baseline)


def judge_growth(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C2 in one experiment."""
    solved = joint.solved.sel(solver="JointRefined", drop=True).astype(float)
    ends = joint.group_size.max(), joint.group_size.min()
    largest, smallest = (solved.sel(group_size=n, drop=True) for n in ends)
    untrained = percent(float(joint.solved.sel(solver="NetworkStart").mean()))
    baseline = f"the untrained network with BFGS solves {untrained}, whatever n"
    return _judged(joint, mean(largest - smallest), baseline)


def judge_cost(classical: xr.Dataset, joint: xr.Dataset) -> dict[str, Any]:
    """Effect and interval of C5 in one experiment:
    how many times cheaper refined JPO with the largest n solves.

    Who does not solve so many in all runs costs more than what was spent. The ratio is then only known to lie
    above or below a number, and "words" says who does not.
    """
    largest = joint.sel(group_size=joint.group_size.max(), drop=True)
    refined = largest.sel(solver="JointRefined", drop=True)
    restarts = classical.sel(solver="MultiStart", drop=True)
    draws = weights(*(joint.sizes[name] for name in ORDER))
    training = largest.num_evaluations.sel(solver="Joint", drop=True)
    rival, theirs_known = cost_draws(restarts, rules.COST_LEVEL, 0.0, *draws)
    cost, own_known = cost_draws(refined, rules.COST_LEVEL, training, *draws)
    found = estimate(np.where(own_known, rival / cost, 0.0), np.where(theirs_known, rival / cost, np.inf))
    who = "neither multi-start BFGS nor refined JPO solves"
    if theirs_known[0] or own_known[0]:
        who = "only multi-start BFGS solves" if theirs_known[0] else "only refined JPO solves"
    theirs, own = (percent(float(one.solved.mean())) for one in (restarts, refined))
    size = int(joint.group_size.max())
    baseline = f"multi-start BFGS solves {theirs} in all, refined JPO with n = {size} {own}"
    words = f"{who} {percent(rules.COST_LEVEL)} of the problems in all its runs"
    return _judged(joint, found, baseline, None if theirs_known[0] and own_known[0] else words)


def _effect(judged: dict[str, Any] | None) -> dict[str, Any]:
    """As the ledger holds it. JSON knows no infinity. An effect may be known from one side only."""
    if judged is None:
        return {"effect": None, "interval": None, "words": "not computed"}
    found = judged["found"]
    effect, ends = found.value, [end if np.isfinite(end) else "infinite" for end in found.interval]
    if effect != found.upper:
        least, most = f"more than {effect:.3g}", f"less than {found.upper:.3g}"
        effect = least if effect else most if np.isfinite(found.upper) else "not known"
    return {"effect": effect, "interval": ends, "words": judged["words"]}


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
    claim: str, problems: Sequence[str], judged: dict[str, dict], files: Sequence[dict] = ()
) -> dict[str, Any]:
    """The verdict on a claim from what was judged for each experiment, by the rule of that claim.

    An experiment that was not computed, or with too few seeds, is not for the claim: leaving one out never
    makes the verdict better.
    """
    run = [p for p in problems if p in judged]
    if not run:
        return _planned(claim, files)

    def titles(chosen):
        return ", ".join(EXPERIMENTS[p].title for p in chosen)

    scarce = [p for p in run if not judged[p]["enough_seeds"]]
    missing = [p for p in problems if p not in run]
    few = [p for p in run if judged[p]["networks"] < ENOUGH_NETWORKS]
    counted = [p for p in run if p not in scarce]
    supporting = sum(judged[p]["found"].low > rules.THRESHOLDS[claim] for p in counted)
    least = min(counted or run, key=lambda p: judged[p]["found"].value)
    done = "judged" if counted else "run"
    which = f"It is that of the only experiment {done},"
    if len(counted or run) > 1:
        which = f"This is the smallest of the experiments {done}, that of"
    note = f"The effect is {rules.EFFECTS[claim]}. {which} {titles([least])}."
    if missing:
        note += f" Not computed: {titles(missing)}."
    if scarce:
        least_of_all = f"{rules.LEAST_DATA_SEEDS} data sets or {rules.LEAST_NETWORK_SEEDS} networks each"
        note += f" Not judged, since fewer than {least_of_all} were run for: {titles(scarce)}."
    if few:
        rest = f" Intervals rest on fewer than {ENOUGH_NETWORKS} networks"
        note += f"{rest}, and are too narrow: {titles(few)}."
    return {
        **_planned(claim, files),
        "verdict": _verdict(supporting, len(problems)) if counted else "out of budget",
        **_effect(judged[least]),
        "note": note,
        "by_experiment": {p: {"title": titles([p]), **_effect(judged.get(p))} for p in problems},
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
            if joint.sizes["group_size"] > 1:  # else there is no growth to judge
                growth[problem] = judge_growth(classical, joint)
    for study, problem in COST_STUDIES.items():
        loaded = load_study(root, record(COST_CHAPTER), study)
        if loaded is not None:
            classical, joint, cost_files[problem] = loaded
            costs[problem] = judge_cost(classical, joint)

    unseen = []
    for problem, experiment in EXPERIMENTS.items():
        loaded = load_study(root, record(GENERALIZATION_CHAPTER), f"{problem}_generalization")
        if loaded is None:
            unseen.append(f"{experiment.title} not computed")
            continue
        solved = loaded[1].solved.sel(group_size=loaded[1].group_size.max())
        names = ("JointRefined", "JointUnseenRefined")
        known, others = (percent(float(solved.sel(solver=name).mean())) for name in names)
        unseen.append(f"{experiment.title} {known} of the known and {others} of the unseen problems")
        cost_files[problem] = [*cost_files.get(problem, []), *loaded[2]]

    def used(source, problems):
        return [entry for p in problems for entry in source.get(p, [])]

    records = {problem: record(experiment.page) for problem, experiment in EXPERIMENTS.items()}
    four, kinds = list(EXPERIMENTS), ["wave_packet", "billiards", "kuramoto_sivashinsky"]
    known_data = over_experiments("C5", four, costs, used(cost_files, four))
    if costs:
        known_data["note"] += (
            f" Networks trained on the largest n solve, after refinement: {'; '.join(unseen)}."
        )
        known_data["note"] += " Equal rates mean that they serve as well for new data."
    found = [
        over_experiments("C1", four, advantage, used(files, four)),
        over_experiments("C2", four, growth, used(files, four)),
        over_experiments("C3", kinds, advantage, used(files, kinds)),
        judge_theory(record(THEORY_CHAPTER)),
        known_data,
    ]
    against = {problem: against_opponents(root, records[problem], problem) for problem in four}
    for verdict, problems in ((found[0], four), (found[2], kinds), (found[4], four)):
        verdict["alternatives"] = {
            kind: {EXPERIMENTS[problem].title: against[problem][kind] for problem in problems}
            for kind in OPPONENTS.values()
        }
    return found
