"""Panels on the smoothed landscape of Theorem 5: what joint descent sees, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jpo_book.analysis.smoothing import SIZES, NetworkPaths, SlopeSigns
from jpo_lib.theory.smoothing import sign_probability, wave_packet_loss

COLORS = ("#222222", "#1f5fa8", "#3f9bd1", "#d9822b")
PREDICTED, DRAWN = "#d6336c", "#1f5fa8"


def plot_smoothed_landscape(ax, spreads=(0.0, 1.0, 2.0, 4.0)) -> None:
    """The mean loss of wave packets against the shift that all share, for several spreads of their errors."""
    shift = np.linspace(-10, 10, 401)
    far = wave_packet_loss(1e3)
    for spread, color in zip(spreads, COLORS, strict=True):
        label = "one problem" if spread == 0 else f"$s = {spread:g}$"
        ax.plot(shift, wave_packet_loss(shift, spread) / far, color=color, label=label)
    ax.set(xlabel="shift $b$ (radians)", ylabel="mean loss (of the loss far away)", ylim=(-0.05, 2.2))
    ax.legend(loc="upper center", ncols=2, title="spread of the errors", title_fontsize=8)


def plot_slope_signs(ax, found: Mapping[str, SlopeSigns]) -> None:
    """Share of draws with the right sign of the shared slope against n: points, and the normal law."""
    smooth = np.unique(np.geomspace(1, SIZES[-1], 40).astype(int))
    for (name, signs), marker in zip(found.items(), "os^Dv", strict=False):
        ax.plot(smooth, sign_probability(smooth, *signs.moments[:2]), color=PREDICTED, zorder=1)
        ax.plot(SIZES, signs.measured, marker, color=DRAWN, markersize=5)
        label = f"$s = {float(name.split()[1]):g}$" if name.startswith("spread") else name
        at = np.clip(np.searchsorted(signs.predicted, 0.8), 1, len(SIZES) - 2)
        ax.annotate(label, (SIZES[at], signs.predicted[at]), (7, -9), textcoords="offset points", fontsize=8)
    ax.set_xscale("log", base=4)
    ax.set_xticks(SIZES, [str(n) for n in SIZES])
    ax.minorticks_off()
    ax.set(xlabel="number of problems $n$", ylabel="share of right signs", ylim=(0.47, 1.03))


def _map_axes(ax) -> None:
    ax.axhline(0.0, color="#bbbbbb", linewidth=0.6, zorder=0)
    ax.set(xlabel="spread $s$ (radians)", ylabel="shift $b$ (radians)")
    ax.grid(False)


def plot_good_starts(ax, starts, predicted, infinite, measured) -> None:
    """Predicted set of good starts of given problems (filled), that of infinitely many (dashed), and measured
    starts (dots: good, crosses: not).

    Arguments:
        starts: (s, b), shape (m, m, 2), radians.
        predicted, infinite, measured: truth values, shape (m, m).
    """
    s, b = starts[:, 0, 0], starts[0, :, 1]
    ax.pcolormesh(s, b, np.where(predicted, 0.25, np.nan).T, cmap="RdPu", vmin=0, vmax=1, shading="nearest")
    ax.contour(s, b, infinite.T.astype(float), [0.5], colors=["#555555"], linestyles="--", linewidths=1.2)
    for good, look in ((True, {"marker": "o", "s": 7}), (False, {"marker": "x", "s": 7, "linewidth": 0.6})):
        ax.scatter(*starts[measured == good].T, color=DRAWN if good else "#8a8a8a", **look)
    _map_axes(ax)
    half = (s[1] - s[0]) / 2, (b[1] - b[0]) / 2
    ax.set(xlim=(s[0] - half[0], s[-1] + half[0]), ylim=(b[0] - half[1], b[-1] + half[1]))


def plot_network_paths(ax, starts, chance, found: NetworkPaths) -> None:
    """Paths of networks in training on the share of sets of problems for which a start is good. Returns the
    shading.

    Arguments:
        starts: (s, b), shape (m, m, 2), radians.
        chance: share of sets, shape (m, m).
        found: the networks.
    """
    s, b = starts[:, 0, 0], starts[0, :, 1]
    shading = ax.contourf(s, b, chance.T, np.linspace(0, 1, 6), cmap="RdPu", vmax=2.0)
    for path, good in zip(found.paths, found.measured, strict=True):
        color = DRAWN if good else "#c75400"
        ax.plot(*path.T, color=color, linewidth=0.8, alpha=0.8)
        ax.plot(*path[0], "o", color=color, markersize=3.5, markerfacecolor="white")
        ax.plot(*path[-1], "o" if good else "x", color=color, markersize=4)
    _map_axes(ax)
    ax.set(xlim=s[[0, -1]], ylim=b[[0, -1]])
    return shading
