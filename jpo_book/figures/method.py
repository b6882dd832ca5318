"""The flow chart of joint parameter optimization, and panels on the accuracy of the simulators."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import NullFormatter

from jpo_book.figures.panels import colour_of

BOXES = (  # x, y, text, width, height, colour
    (0.8, 1.55, "target $y_i$", 1.5, 0.8, "#f4f4f4"),
    (0.8, 0.45, "identifier $\\gamma_i$", 1.5, 0.8, "#f4f4f4"),
    (3.3, 1.0, "network\nweights $\\theta$", 1.6, 1.3, "#d6e6f4"),
    (5.5, 1.0, "$x_i$", 0.8, 0.8, "#f4f4f4"),
    (7.5, 1.0, "simulator\n$F$", 1.5, 1.3, "#fbe5cf"),
    (9.6, 1.0, "$F(x_i)$", 1.1, 0.8, "#f4f4f4"),
    (11.7, 1.0, "loss\n$\\mathcal{L}(F(x_i), y_i)$", 1.9, 1.1, "#dcefe4"),
)
ARROWS = (  # start, end, bend
    ((1.58, 1.5), (2.45, 1.25), 0.0),
    ((1.58, 0.5), (2.45, 0.75), 0.0),
    ((4.15, 1.0), (5.05, 1.0), 0.0),
    ((5.95, 1.0), (6.7, 1.0), 0.0),
    ((8.3, 1.0), (9.0, 1.0), 0.0),
    ((10.2, 1.0), (10.7, 1.0), 0.0),
    ((0.8, 2.0), (11.7, 1.62), -0.13),
)
BACKWARD = (((11.7, 0.4), (7.5, 0.3), -0.25), ((7.4, 0.28), (3.3, 0.3), -0.25))
# Series of errors, one after the other: colour and marker.
SERIES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))


def draw_schematic(ax) -> None:
    """Joint parameter optimization as a flow chart."""
    for x, y, text, width, height, color in BOXES:
        corner, look = (x - width / 2, y - height / 2), {"edgecolor": "#333333", "linewidth": 1.0}
        shape = "round,pad=0.02,rounding_size=0.12"
        ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle=shape, facecolor=color, **look))
        ax.text(x, y, text, ha="center", va="center", fontsize=9)
    back = colour_of("GradientDescent")
    for arrows, color, line in ((ARROWS, "#333333", "-"), (BACKWARD, back, "--")):
        for start, end, bend in arrows:
            look = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.2}
            look |= {"color": color, "linestyle": line}
            ax.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={bend}", **look))
    ax.text(6.2, 2.6, "the same target enters the loss", ha="center", fontsize=8, color="#555555")
    text = "gradients, summed over all $n$ problems, change $\\theta$"
    ax.text(7.5, -0.6, text, ha="center", fontsize=8, color=back)
    ax.set(xlim=(-0.1, 12.8), ylim=(-0.8, 2.9))
    ax.set_axis_off()


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
    for (label, values), (color, marker) in zip(errors.items(), SERIES, strict=False):
        at = np.asarray(steps[label] if isinstance(steps, dict) else steps, float)
        ax.loglog(at, values, marker=marker, linestyle="none", color=color, label=label)
        if label in orders:
            # Anchored at the middle point: the ends show round-off on one side and coarse steps on the other.
            middle = len(at) // 2
            promised = values[middle] * (at / at[middle]) ** orders[label]
            ax.loglog(at, promised, color=color, linewidth=1.0, alpha=0.7)
    if ticks is not None:
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(loc="best")
