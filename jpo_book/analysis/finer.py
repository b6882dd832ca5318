"""Does the order of the methods depend on who made the targets? See `jpo_book.studies.run_finer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from jpo_book.analysis.tournament import judged
from jpo_book.names import TOURNAMENT
from jpo_book.studies.run_finer import SOLVED
from jpo_book.words import counted, percent

HEADER = ("method", "solved for the price of JPO", "price of as many solutions", "error of x", "JPO is")


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
    for kind in found["Joint"].targets.values:
        own = found["Joint"].sel(targets=kind, drop=True)
        for name in table:
            study = found[name].sel(targets=kind, drop=True)
            found_here = judged(own, study)
            share, verdict = found_here.their_share, found_here.verdict
            if name == "Joint":
                share, verdict = found_here.share, "–"
            table[name].append(Standing(share, found_here.their_price, float(study.error.median()), verdict))
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
    noise, spread, sizes = float(found["Joint"].noise), float(found["Joint"].spread), found["Joint"].sizes
    difference = float(np.sqrt(np.mean(np.square(found["Joint"].difference))))
    before, after = (_order(table, k) for k in range(2))
    judged_as = {TOURNAMENT[name]: [one.verdict for one in both] for name, both in table.items()}
    changed = [f"{title} ({old}, now {new})" for title, (old, new) in judged_as.items() if old != new]
    return {
        "factor": f"{SOLVED:g}",
        "basis": f"{counted(sizes['data_seed'], 'data set')} and {counted(sizes['network_seed'], 'network')}",
        "noise": f"{noise:.2g}",
        "noise-share": _share(noise / spread),
        "difference": _share(difference / spread),
        "order": f"The order by price, from the cheapest on, stays what it was: {before}."
        if before == after
        else f"The order by price, from the cheapest on, changes. It was {before}. Now it is {after}.",
        "verdicts": f"JPO is judged differently against {' and '.join(changed)}."
        if changed
        else "Against each method JPO is judged as with the usual targets.",
    }


def _share(value: float) -> str:
    """A proportion as text with two digits, however small or large."""
    return f"{np.format_float_positional(100 * value, 2, fractional=False, trim='-')} %"


def _order(table: Mapping[str, list[Standing]], kind: int) -> str:
    """The methods from the cheapest on; those that never solve as many come last, the better ones first."""
    names = sorted(table, key=lambda name: (table[name][kind].price, -table[name][kind].share))
    return ", ".join(TOURNAMENT[name] for name in names)
