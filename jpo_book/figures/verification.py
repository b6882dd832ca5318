"""Panels on the accuracy of the simulators."""

from __future__ import annotations

import numpy as np

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKERS = ("o", "s", "^", "D")


def plot_convergence(
    ax, steps, errors: dict[str, np.ndarray], orders: dict[str, float], xlabel: str, ylabel: str, ticks=None
) -> None:
    """Errors against step sizes on logarithmic axes, each with a line of the slope that theory promises.

    Arguments:
        steps: step sizes, or a dictionary of them by the names of the errors.
        errors: {label: values}.
        orders: {label: order}; labels without one get no line.
        xlabel, ylabel: with units.
        ticks: of the horizontal axis; powers of ten when None.
    """
    from matplotlib.ticker import NullFormatter

    for (label, values), colour, marker in zip(errors.items(), COLOURS, MARKERS):
        at = np.asarray(steps[label] if isinstance(steps, dict) else steps, float)
        ax.loglog(at, values, marker=marker, linestyle="none", color=colour, label=label)
        if label in orders:
            # Anchored at the middle point: the ends show round-off on one side and too coarse steps on the other.
            middle = len(at) // 2
            ax.loglog(
                at,
                values[middle] * (at / at[middle]) ** orders[label],
                color=colour,
                linewidth=1.0,
                alpha=0.7,
            )
    if ticks is not None:
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(loc="best")
