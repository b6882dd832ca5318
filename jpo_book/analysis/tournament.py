"""The tournament: what each method solves at which price, which settings and which opponent were selected on
tuning data, and whether joint optimization is ahead of it.

A method's curve: with a budget of b evaluations per problem it solves the problems whose cost is at most b,
and spends the mean of min(cost, b). `python -m jpo_book.analysis.tournament` writes the choice of settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from jpo_book import studies
from jpo_book.analysis.resample import Estimate, estimate, means, ordered, weights
from jpo_book.analysis.rules import MARGIN
from jpo_book.files import reference_folder, write_atomically
from jpo_book.names import TOURNAMENT
from jpo_book.studies.store import check
from jpo_book.studies.tournament import CHOICE, choice, label, methods
from jpo_book.words import percent
from jpo_lib.problems import PROBLEMS

SHARE = 0.9  # settings are compared by the price of this share of the tuning problems
LARGE_BUDGET = 300.0  # and where none reaches it, by what they solve with this budget
REFINEMENT = 75  # evaluations: three descents of 25 are JPO's own refinement
NUM_BUDGETS = 200
UNKNOWN = "not computed"
Entry = tuple[str, int | None]  # a method, and n where it has one


class Curve(NamedTuple):
    """What a method solves and spends with each budget, in each draw; arrays (budgets, draws)."""

    share: np.ndarray
    spent: np.ndarray

    def price(self, share) -> np.ndarray:
        """What is spent where this share is reached first, shape (draws,); infinite where it never is."""
        reached = self.share >= np.asarray(share) - 1e-9
        first = reached.argmax(axis=0)
        return np.where(reached.any(axis=0), self.spent[first, np.arange(len(first))], np.inf)

    def share_for(self, spent) -> np.ndarray:
        """The share that is solved when no more than this is spent, shape (draws,)."""
        return np.where(self.spent <= np.asarray(spent) * (1 + 1e-9), self.share, 0.0).max(axis=0)


def draws_for(*results: xr.Dataset, num_resamples: int = 1000):
    """Weights that the results of several methods on the same problems share, see `resample.weights`."""
    return weights(*np.max([ordered(study.cost).shape for study in results], axis=0).tolist(), num_resamples)


def curve(study: xr.Dataset, draws=None) -> Curve:
    """The curve of a method; column 0 is the sample, the others are drawn again.

    Arguments:
        study: solved and cost (data_seed, network_seed, problem).
        draws: from `draws_for`; the sample alone when None.
    """
    draws = draws_for(study, num_resamples=0) if draws is None else draws
    cost, solved = ordered(study.cost).astype(float), ordered(study.solved)
    budgets = np.unique(np.quantile(cost, np.linspace(0, 1, NUM_BUDGETS), method="higher"))
    share = [means(solved & (cost <= budget), *draws) for budget in budgets]
    return Curve(np.stack(share), np.stack([means(np.minimum(cost, budget), *draws) for budget in budgets]))


def by_method(cells: Sequence[studies.Cell], loaded: Mapping[str, xr.Dataset]) -> dict[Entry, xr.Dataset]:
    """The results of a tournament or tuning study by method and n, with their costs in evaluations; those of
    a tuning study have the axis "setting".

    Arguments:
        cells, loaded: from `studies.plan` and `studies.load_or_run`.
    """
    found = {}
    for cell in cells:
        study, price = loaded[cell.name], PROBLEMS[cell.problem](**cell.settings).forward_cost
        if cell.study.startswith("tournament_"):
            study = study.isel(setting=0, drop=True)
        found[cell.variant, cell.group_size] = study.assign(
            cost=study.num_evaluations + price * study.num_simulations,
            training_cost=study.training_evaluations + price * study.training_simulations,
        )
    return found


def merit(study: xr.Dataset) -> tuple[float, float]:
    """How good a method is on tuning data; the smallest is the best: the price of nine problems in ten, and
    what it leaves unsolved with a large budget."""
    own = curve(study)
    return float(own.price(SHARE)[0]), 1.0 - float(own.share_for(LARGE_BUDGET)[0])


def merits(study: xr.Dataset) -> list[tuple[float, float]]:
    """That of each setting of a tuning study; the first of the smallest is selected."""
    return [merit(study.isel(setting=k)) for k in range(study.sizes["setting"])]


ROLES = {"without-prior": "without_prior", "of-all": "of_all"}  # of alternatives, by the names of the pages


class Opponents(NamedTuple):
    """What was selected on tuning data: JPO with its n, and the best alternatives."""

    joint: Entry
    without_prior: Entry
    of_all: Entry


def opponents(found: Mapping[Entry, Sequence[tuple[float, float]]]) -> Opponents:
    """Who plays, each with its best setting and n.

    Arguments:
        found: the merits of each method and n.
    """
    order = sorted(found, key=lambda entry: min(found[entry]))

    def first(allowed: Sequence[str]) -> Entry:
        return next(entry for entry in order if entry[0] in allowed)

    others = [name for name in methods() if not name.startswith("Joint")]
    modest = [name for name in others if "prior" not in methods()[name]["asks"]]
    return Opponents(first(["Joint"]), first(modest), first(others))


class Judgement(NamedTuple):
    """JPO against one opponent: the difference of what they solve for the same price, and how many times
    dearer the opponent is at the share that JPO solves."""

    share: float  # JPO's own: after training and three descents
    their_share: float  # for the same price
    their_price: float  # of the same share; infinite where they never solve as much
    difference: Estimate
    ratio: Estimate

    @property
    def verdict(self) -> str:
        """ahead, behind or level."""
        sign = 0
        if self.difference.low > MARGIN or self.ratio.low > 1:
            sign += 1
        if self.difference.high < -MARGIN or self.ratio.high < 1:
            sign -= 1
        return {1: "ahead", 0: "level", -1: "behind"}[sign]


def own_share(joint: xr.Dataset, draws) -> tuple[np.ndarray, np.ndarray]:
    """What JPO solves, and spends on it, by training and three descents, in each draw."""
    budget = joint.training_cost + REFINEMENT
    solved, spent = joint.solved & (joint.cost <= budget), np.minimum(joint.cost, budget)
    return means(ordered(solved), *draws), means(ordered(spent), *draws)


def judged(joint: xr.Dataset, other: xr.Dataset) -> Judgement:
    """JPO against an opponent on the same problems.

    A price that the opponent never pays, because it never solves as much, is larger than all that it spent.
    """
    draws = draws_for(joint, other)
    theirs = curve(other, draws)
    share, spent = own_share(joint, draws)
    price, their_share = theirs.price(share), theirs.share_for(spent)
    lowest = np.where(np.isinf(price), theirs.spent.max(axis=0), price)
    return Judgement(
        float(share[0]),
        float(their_share[0]),
        float(price[0]),
        estimate(share - their_share),
        estimate(lowest / spent, price / spent),
    )


def chosen(tuning: dict[Entry, xr.Dataset]) -> dict[str, Any]:
    """What tuning results select, as plain data; see `studies.tournament.choice`."""
    found = {entry: merits(study) for entry, study in tuning.items()}
    settings = {label(*entry): each.index(min(each)) for entry, each in found.items()}
    return {"settings": settings, "opponents": {k: list(v) for k, v in opponents(found)._asdict().items()}}


def players(experiment: str, found: Mapping[Entry, xr.Dataset]) -> Opponents | None:
    """Who plays in an experiment, among the methods and n that there are results of; None where the settings
    have not been tuned."""
    roles = choice().get(experiment, {}).get("opponents")
    if roles is None:
        return None

    def nearest(role: str) -> Entry:
        name, size = roles[role]
        there = [entry for entry in found if entry[0] == name]
        return min(there, key=lambda entry: abs(np.log((entry[1] or 1) / (size or 1))), default=(name, size))

    return Opponents(*(nearest(role) for role in Opponents._fields))


TUNED = (
    "All methods were tuned with the same effort on data that no page reports. "
    "There the opponents and the n of JPO were selected, too."
)
UNTUNED = (
    "For this experiment the methods have not been tuned yet: "
    "their settings are middle ones, and no opponent is named."
)
TOLD = ("name", "share", "verdict", "difference", "ratio", "price")


def judgements(
    experiment: str, found: Mapping[Entry, xr.Dataset], wanted: Iterable[str] = ("bfgs", "restarts", *ROLES)
) -> dict[str, tuple[Entry, Judgement]]:
    """JPO against one run of BFGS, restarts of it and either alternative: the opponent, and what was judged.
    Nothing where the settings have not been tuned or JPO has no results; opponents without results are left
    out.

    Arguments:
        experiment: its name.
        found: results by method and n.
        wanted: the names of the opponents.
    """
    roles = players(experiment, found)
    if roles is None or roles.joint not in found:
        return {}
    entries: dict[str, Entry] = {"bfgs": ("BFGS", None), "restarts": ("MultiStart", None)}
    entries |= {role: getattr(roles, field) for role, field in ROLES.items()}
    there = {role: entries[role] for role in wanted if entries[role] in found}
    return {role: (entry, judged(found[roles.joint], found[entry])) for role, entry in there.items()}


def told(experiment: str, found: dict[Entry, xr.Dataset]) -> dict[str, str]:
    """What a page says of an experiment, as text by name: who plays, and how JPO does against either
    alternative."""
    roles = players(experiment, found)
    text = {f"{role}-{name}": UNKNOWN for role in ROLES for name in TOLD}
    text |= {"selection": UNTUNED if roles is None else TUNED}
    text |= {"joint": "JPO"} | dict.fromkeys(("share", "price", "error", "largest-error"), UNKNOWN)
    if roles is None or roles.joint not in found:
        return text
    joint = found[roles.joint]
    share, spent = (float(of_draws[0]) for of_draws in own_share(joint, draws_for(joint, num_resamples=0)))
    text |= {"joint": named(roles.joint), "share": percent(share), "price": f"{spent:.1f}"}
    error = joint.error.where(joint.solved)
    text |= {"error": f"{float(error.median()):.2g}", "largest-error": f"{float(error.max()):.2g}"}
    text |= {f"{role}-name": named(getattr(roles, field)) for role, field in ROLES.items()}
    for role, (_, judgement) in judgements(experiment, found, ROLES).items():
        text |= {
            f"{role}-verdict": judgement.verdict,
            f"{role}-difference": str(judgement.difference),
            f"{role}-ratio": ratio_words(judgement.ratio),
            f"{role}-price": "never" if np.isinf(judgement.their_price) else f"{judgement.their_price:.1f}",
            f"{role}-share": percent(judgement.their_share),
        }
    return text


def ratio_words(ratio: Estimate) -> str:
    """A ratio of prices with its interval, "more than" where the dearer one is never paid."""
    ends = [f"{end:.2g}" if np.isfinite(end) else "any" for end in (ratio.value, ratio.low, ratio.high)]
    more = "more than " if ratio.upper is not None and np.isinf(ratio.upper) else ""
    return f"{more}{ends[0]} ({ends[1]} to {ends[2]})"


def named(entry: Entry) -> str:
    """A method and n as a page writes them."""
    name, size = entry
    return TOURNAMENT[name] + ("" if size is None else f" with n = {size}")


def main(profile: str = "paper") -> None:
    """Write down what the tuning results of a profile select, where its reference results are complete."""
    tuned = {study.partition("_")[2]: study for study in studies.STUDIES if study.startswith("tuning_")}
    plans = {name: studies.plan(study, profile) for name, study in tuned.items()}
    there = reference_folder()
    plans = {name: cells for name, cells in plans.items() if all(check(c, there) == "valid" for c in cells)}
    found = {name: chosen(by_method(cells, studies.load_or_run(cells))) for name, cells in plans.items()}
    write_atomically(CHOICE, (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
