"""The price of a solution: what methods solve against what they spend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from jpo_book.analysis.prices import curves, sizes_of
from jpo_book.analysis.resample import estimate
from jpo_book.analysis.tournament import Entry, curve, draws_for, named, players
from jpo_book.figures.costs import cost_axes, plot_estimates
from jpo_book.figures.panels import band
from jpo_book.names import TOURNAMENT

NUM_POINTS = 160  # of a line
STYLES = {  # colour and line of each role
    "BFGS": ("#000000", ":"),
    "without prior": ("#CC79A7", "-."),
    "of all": ("#009E73", "--"),
    "smallest n": ("#56B4E9", "-"),
    "JPO": ("#003f66", "-"),
    "plain": ("#0072B2", ":"),
    "restarts": ("#E69F00", "-."),
}


def lines(experiment: str, found: Mapping[Entry, xr.Dataset]) -> dict[str, Entry]:
    """The lines of a figure by their roles: one BFGS, the best alternatives, and JPO with the smallest n and
    with the one that was selected. A method that has two roles takes the first of these."""
    roles = players(experiment, dict(found))
    sizes = sizes_of("Joint", found)
    entries: dict[str, Entry] = {"JPO": ("Joint", sizes[-1]) if roles is None else roles.joint}
    entries["BFGS"] = ("BFGS", None)
    if roles is not None:
        entries |= {"without prior": roles.without_prior, "of all": roles.of_all}
    entries["smallest n"] = ("Joint", sizes[0])
    shown: dict[str, Entry] = {}
    for role, entry in entries.items():
        if entry in found and entry not in shown.values():
            shown[role] = entry
    return {role: shown[role] for role in STYLES if role in shown}


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
    curves = {role: curve(found[entry], draws) for role, entry in shown.items()}
    most = max(float(own.spent.max()) for own in curves.values())
    for role, own in curves.items():
        colour, line = STYLES[role]
        spent = np.geomspace(max(0.5, own.spent[:, 0].min()), 1.1 * max(most, 1.0), NUM_POINTS)
        shares = np.stack([own.share_for(point) for point in spent])
        low, high = np.percentile(shares[:, 1:], [2.5, 97.5], axis=1)
        label = named(shown[role])
        band(ax, spent, low, shares[:, 0], high, color=colour, linestyle=line, label=label)
    ax.set(xscale="log", ylim=(-0.02, 1.02))
    ax.set(xlabel="evaluations of loss and gradient per problem", ylabel="fraction solved")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.4)


def plot_price_against_size(ax, experiment: str, found: Mapping[Entry, xr.Dataset], share: float) -> None:
    """Evaluations per problem until a share of the problems is solved, against n, with 95 % intervals: JPO
    with the setting that was selected for each n, restarts, and the best alternatives.

    Arguments:
        ax, experiment, found: as for `plot_price`.
        share: of the problems.
    """
    roles = players(experiment, dict(found))
    methods = {"JPO": "Joint", "plain": "JointPlain", "restarts": "MultiStart"}
    if roles is not None:
        methods |= {"without prior": roles.without_prior[0], "of all": roles.of_all[0]}
    known = {name for name, _ in found}
    shown = {name: role for role, name in methods.items() if name in known}  # the last of its roles
    everywhere = sizes_of("Joint", found)
    for name, role in shown.items():
        estimates = [estimate(own.price(share)) for own in curves(name, found)]
        colour, line = STYLES[role]
        look = {"color": colour, "linestyle": line, "label": TOURNAMENT[name]}
        plot_estimates(ax, sizes_of(name, found) or everywhere, estimates, **look)
    cost_axes(ax, everywhere)
