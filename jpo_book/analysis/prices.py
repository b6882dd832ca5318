"""Prices of the tournament for pages: against n, where they cross, and in tables; see
`jpo_book.analysis.tournament`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from jpo_book.analysis.costs import crossing_of
from jpo_book.analysis.resample import Estimate, estimate
from jpo_book.analysis.tournament import (
    UNKNOWN,
    Curve,
    Entry,
    curve,
    draws_for,
    merit,
    merits,
    named,
    own_share,
    players,
)
from jpo_book.names import TOURNAMENT
from jpo_book.studies.tournament import methods
from jpo_book.words import percent

NUM_RESAMPLES = 400


def sizes_of(method: str, found: Mapping[Entry, xr.Dataset]) -> list[int]:
    """The n that there are results of, ascending."""
    return sorted(size for name, size in found if name == method and size is not None)


def curves(method: str, found: Mapping[Entry, xr.Dataset]) -> list[Curve]:
    """That of each n of a method in the order of `sizes_of`, in draws that all methods share; one where it
    has no n."""
    draws = draws_for(*found.values(), num_resamples=NUM_RESAMPLES)
    return [curve(found[method, size], draws) for size in sizes_of(method, found) or [None]]


def crossing(joint: Sequence[Curve], sizes: Sequence[int], theirs: Curve, share: float) -> Estimate:
    """n* from which on JPO solves a share at no more cost than an opponent; see `costs.crossing`.

    Arguments:
        joint, sizes: of JPO, each with the setting that was selected for its n.
        theirs: of the opponent, in the same draws.
        share: of the problems.
    """
    limits, most = theirs.price(share), theirs.spent.max(axis=0)
    known = np.isfinite(limits)
    mine = [own.price(share) for own in joint]
    return crossing_of(np.array(sizes, float), mine, np.where(known, limits, most), known)


def crossings(
    experiment: str, found: Mapping[Entry, xr.Dataset], shares: Sequence[float]
) -> dict[str, list[Estimate]]:
    """The crossing points with restarts, untrained networks and the best alternatives, where they are known,
    for each share."""
    roles = players(experiment, found)
    known: list[Entry] = [("MultiStart", None), ("UntrainedNetwork", None)]
    known += [] if roles is None else [roles.without_prior, roles.of_all]
    joint, sizes = curves("Joint", found), sizes_of("Joint", found)
    draws = draws_for(*found.values(), num_resamples=NUM_RESAMPLES)
    rivals = {entry: curve(found[entry], draws) for entry in dict.fromkeys(known) if entry in found}
    return {
        named(entry): [crossing(joint, sizes, theirs, share) for share in shares]
        for entry, theirs in rivals.items()
    }


def price_summary(short: str, found: Mapping[Entry, xr.Dataset], share: float) -> dict[str, object]:
    """What a page says about the prices of one experiment, by names that begin with `short`."""
    sizes, joint = sizes_of("Joint", found), curves("Joint", found)
    count = found["Joint", sizes[0]].sizes["problem"]
    values: dict[str, object] = {"n-min": sizes[0], "n-max": sizes[-1], "num-problems": count}
    for name, own in (("cost-min", joint[0]), ("cost-max", joint[-1])):
        values[name] = price_words(estimate(own.price(share)))
    for method, name in (("MultiStart", "restarts"), ("UntrainedNetwork", "networks")):
        values |= {name: UNKNOWN, f"{name}-solved": UNKNOWN}
        if (method, None) in found:
            values[name] = price_words(estimate(curves(method, found)[0].price(share)))
            values[f"{name}-solved"] = percent(float(found[method, None].solved.mean()))
    return {f"{short}-{name}": value for name, value in values.items()}


def best_of(method: str, found: Mapping[Entry, xr.Dataset]) -> Entry | None:
    """The n of a method with the lowest merit; None where there are no results of it."""
    entries = [entry for entry in found if entry[0] == method]
    return min(entries, key=lambda entry: merit(found[entry]), default=None)


def prices(experiment: str, found: dict[Entry, xr.Dataset]) -> dict[str, str]:
    """What each method spends until it has solved as much as JPO has by training and three descents, with its
    best n, as text by method."""
    roles = players(experiment, found)
    mine = best_of("Joint", found) if roles is None or roles.joint not in found else roles.joint
    entries = [entry for method in TOURNAMENT if (entry := best_of(method, found)) is not None]
    if mine is None:
        return {}
    draws = draws_for(*found.values())
    share, _ = own_share(found[mine], draws)
    return {
        name: price_words(estimate(curve(found[name, size], draws).price(share)))
        + ("" if size is None else f", n = {size}")
        for name, size in entries
    }


def price_rows(experiments: Mapping[str, dict[Entry, xr.Dataset]]) -> list[list[str]]:
    """A row for each method that plays in one of these experiments: its title, what it asks for, and its
    `prices` in each."""
    columns = [prices(name, found) for name, found in experiments.items()]
    return [
        [title, ", ".join(methods()[method]["asks"]), *(column.get(method, "–") for column in columns)]
        for method, title in TOURNAMENT.items()
        if any(method in column for column in columns)
    ]


def tuning_rows(experiments: Mapping[str, dict[Entry, xr.Dataset]]) -> list[list[str]]:
    """How the settings were selected: for each experiment, method and n the price of nine problems in ten
    with each setting, or what a large budget leaves unsolved; the selected one is bold.

    Arguments:
        experiments: results of tuning studies by title.
    """
    rows = []
    for title, tuning in experiments.items():
        for entry, study in tuning.items():
            found = merits(study)
            cells = [
                f"{price:.1f}" if np.isfinite(price) else f"{percent(unsolved)} unsolved"
                for price, unsolved in found
            ]
            best = found.index(min(found))
            cells[best] = f"**{cells[best]}**"
            rows.append([title, named(entry), *cells, *["–"] * (4 - len(cells))])
    return rows


def price_words(price: Estimate) -> str:
    """A price with its interval."""
    value, low, high = (
        "never" if np.isinf(end) else f"{end:.3g}" for end in (price.value, price.low, price.high)
    )
    return value if value == low == high else f"{value} ({low} to {high})"
