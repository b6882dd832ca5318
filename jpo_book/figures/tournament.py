"""The price of a solution: what methods solve against what they spend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from jpo_book.analysis.tournament import Entry, curve, draws_for, players
from jpo_book.figures.panels import band
from jpo_book.names import TOURNAMENT

NUM_POINTS = 120  # of a line
COLOURS = ("#000000", "#CC79A7", "#009E73", "#56B4E9", "#003f66")
LINES = (":", "-.", "--", "-", "-")


def lines(experiment: str, found: Mapping[Entry, xr.Dataset]) -> dict[str, Entry]:
    """The five lines of a figure by their names: one BFGS, the best alternatives, and JPO with the n that
    was selected and with the smallest one."""
    roles = players(experiment, dict(found))
    alternatives = [] if roles is None else [roles.without_prior, roles.of_all]
    sizes = sorted(size for name, size in found if name == "Joint" and size is not None)
    best = sizes[-1] if roles is None else roles.joint[1]
    joint = [("Joint", size) for size in dict.fromkeys([sizes[0], best])]
    entries = dict.fromkeys(entry for entry in [("BFGS", None), *alternatives, *joint] if entry in found)
    return {
        TOURNAMENT[name] + ("" if size is None else f", n = {size}"): (name, size) for name, size in entries
    }


def plot_price(ax, experiment: str, found: Mapping[Entry, xr.Dataset]) -> None:
    """Share of the problems that is solved against the evaluations that are spent on each, with 95 %
    intervals; training, tables and failed runs are in it.

    Arguments:
        ax: the panel.
        experiment: name of the tournament.
        found: results by method and n.
    """
    shown = lines(experiment, found)
    draws = draws_for(*(found[entry] for entry in shown.values()), num_resamples=400)
    for (name, entry), colour, line in zip(shown.items(), COLOURS, LINES):
        own = curve(found[entry], draws)
        most = float(own.spent[:, 0].max())
        spent = np.geomspace(max(0.5, own.spent[:, 0].min()), max(most, 0.6), NUM_POINTS)
        shares = np.stack([own.share_for(point) for point in spent])
        low, high = np.percentile(shares[:, 1:], [2.5, 97.5], axis=1)
        band(ax, spent, low, shares[:, 0], high, color=colour, linestyle=line, label=name)
    ax.set(xscale="log", ylim=(-0.02, 1.02))
    ax.set(xlabel="evaluations of loss and gradient per problem", ylabel="fraction solved")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.4)
