"""Does the order of the methods depend on who made the targets? See `jpo_book.studies.run_finer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from jpo_book.analysis.tournament import draws_for, judged, own_share
from jpo_book.names import TOURNAMENT
from jpo_book.words import percent

HEADER = ("method", "solved for the price of JPO", "price of as many solutions", "error of x", "JPO is")
JOINT = "Joint"


class Standing(NamedTuple):
    """A method with one kind of targets."""

    share: float  # solved for the price of JPO
    price: float  # of as many solutions as JPO has; infinite where it never solves as many
    error: float  # median over problems and networks of its answers, in half widths of the prior
    verdict: str  # on JPO against it


def standings(found: Mapping[str, xr.Dataset]) -> dict[str, list[Standing]]:
    """Each method with the targets of its own simulation, and with those of another one and with noise.

    Arguments:
        found: results of a study by the names of its methods.
    """
    table: dict[str, list[Standing]] = {name: [] for name in TOURNAMENT if name in found}
    for kind in found[JOINT].targets.values:
        own = found[JOINT].sel(targets=kind, drop=True)
        for name in table:
            study = found[name].sel(targets=kind, drop=True)
            if name == JOINT:
                share, price = (float(part[0]) for part in own_share(own, draws_for(own, num_resamples=0)))
                verdict = "–"
            else:
                judgement = judged(own, study)
                share, price, verdict = judgement.their_share, judgement.their_price, judgement.verdict
            table[name].append(Standing(share, price, float(study.error.median()), verdict))
    return table


def rows(table: Mapping[str, list[Standing]]) -> list[list[str]]:
    """The rows under `HEADER`; before the slash with the targets of the own simulation."""

    def cells(one: Standing) -> list[str]:
        price = "never" if np.isinf(one.price) else f"{one.price:.3g}"
        return [percent(one.share), price, f"{one.error:.1g}", one.verdict]

    return [[TOURNAMENT[name], *map(" / ".join, zip(*map(cells, both)))] for name, both in table.items()]


def told(found: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """What a page says about it, as text by name."""
    table = standings(found)
    study = next(iter(found.values()))
    noise, spread = float(study.noise), float(study.spread)
    difference = float(np.sqrt(np.mean(np.square(study.difference))))
    before, after = (_order(table, k) for k in range(2))
    changed = [
        f"{TOURNAMENT[name]} ({both[0].verdict}, now {both[1].verdict})"
        for name, both in table.items()
        if both[0].verdict != both[1].verdict
    ]
    return {
        "noise": f"{noise:.2g}",
        "noise-share": f"{100 * noise / spread:.2g} %",
        "difference": f"{100 * difference / spread:.1g} %",
        "order": f"The order of the methods by price stays what it was: {before}."
        if before == after
        else f"The order of the methods by price changes, from {before} to {after}.",
        "verdicts": f"JPO is judged differently against {' and '.join(changed)}."
        if changed
        else "JPO is judged against each method as it was with the targets of the own simulation.",
    }


def _order(table: Mapping[str, list[Standing]], kind: int) -> str:
    """The methods from the cheapest on; those that never solve as many come last, the better ones first."""
    names = sorted(table, key=lambda name: (table[name][kind].price, -table[name][kind].share))
    return ", ".join(TOURNAMENT[name] for name in names)
