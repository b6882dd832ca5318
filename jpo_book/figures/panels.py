"""What panels share: the look of a method, curves with bands, axes, and solutions side by side."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from jpo_book.names import METHODS

MOST_CHARACTERS = 30  # of the numbers along one of two panels side by side
REFERENCE = {"color": "#777777", "linewidth": 0.8, "linestyle": ":"}  # a line to compare with
COMPARED = ("BFGS", "Joint", "JointRefined")  # columns of figures with solutions side by side


def style(method: str, marker: bool = True) -> dict:
    label, color, shape, line = METHODS[method]
    return {"label": label, "color": color, "marker": shape if marker else None, "linestyle": line}


def colour_of(method: str) -> str:
    return style(method)["color"]


def select(method: str, classical: xr.Dataset, joint: xr.Dataset) -> xr.Dataset:
    """Results of a method, wherever they are."""
    return (classical if method in classical.solver else joint).sel(solver=method, drop=True)


def by_size(values: xr.DataArray) -> np.ndarray:
    """Values of all runs for each n, shape (sizes, runs)."""
    values = values.transpose("group_size", ...)
    return values.values.reshape(len(values), -1)


def band(ax, x, low, middle, high, alpha: float = 0.12, **look) -> None:
    """A curve with a band around it."""
    step = "post" if look.get("drawstyle") == "steps-post" else None
    ax.fill_between(x, low, high, color=look["color"], alpha=alpha, linewidth=0, step=step)
    ax.plot(x, middle, **look)


def curve(ax, x, values, alpha: float = 0.12, **look) -> None:
    """Mean over runs, with a band from the smallest to the largest.

    Arguments:
        values: for each x the values of its runs, as many as there are;
            where one of them is NaN, nothing is drawn.
        look: how the line looks, as for `ax.plot`.
    """
    low, middle, high = ([measure(v) for v in values] for measure in (np.min, np.mean, np.max))
    band(ax, x, low, middle, high, alpha, **look)


def plain_ticks(axis) -> None:
    """Plain numbers at a logarithmic axis that is shorter than a power of ten; call it at the end."""
    low, high = axis.get_view_interval()
    if high < 10 * low:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")


def group_size_ticks(ax, sizes) -> None:
    """A tick at each n; where all numbers side by side would be too long,
    every other one is written, with the largest."""
    names = [str(n) for n in sizes]
    step = 1 if sum(len(name) + 1 for name in names) <= MOST_CHARACTERS else 2
    ax.set_xticks(sizes, [name if (len(names) - 1 - i) % step == 0 else "" for i, name in enumerate(names)])


def group_size_axis(ax, sizes, label: str = "problems solved jointly, n (dimensionless)") -> None:
    ax.set_xscale("log", base=2)
    group_size_ticks(ax, sizes)
    ax.minorticks_off()
    ax.set_xlabel(label)


def legend_beside(ax) -> None:
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def plot_not_computed(ax, reason: str) -> None:
    """An empty panel that says why it is empty."""
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes, fontsize=8, color="#6b6b6b")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def not_computed(figure, missing) -> None:
    """A line below the figure that names the experiments it lacks."""
    if missing:
        text = f"Not computed with this profile: {', '.join(missing)}."
        figure.supxlabel(text, fontsize=8, color="#555555")


def solutions_side_by_side(
    data, classical, joint, count: int, draw: Callable, xlabel, ylabel, height=(1.5, 0.3), target=False
):
    """The first problems that BFGS leaves unsolved, a row for each, and what methods make of them,
    a column for each.

    Arguments:
        draw: function (ax, index, method, results of the method for this problem) that draws one panel.
        height: of each row, and of what lies around the rows, inches.
        target: whether a first column shows the targets; `draw` gets the method "target" and no results.
    """
    unsolved = np.flatnonzero(~classical.solved.sel(solver="BFGS").values[: len(data)])[:count]
    rows, columns = max(1, len(unsolved)), ("target", *COMPARED) if target else COMPARED
    size = (7.4, height[0] * rows + height[1])
    fig, axes = plt.subplots(rows, len(columns), figsize=size, sharex=True, sharey=True, squeeze=False)
    joint = joint.isel(network_seed=0)
    for row, index in zip(axes, unsolved, strict=False):
        for ax, method in zip(row, columns, strict=True):
            found = None if method == "target" else select(method, classical, joint).isel(problem=index)
            draw(ax, index, method, found)
        row[0].set_ylabel(f"problem {index}\n{ylabel}")
    for ax, last, method in zip(axes[0], axes[-1], columns, strict=True):
        ax.set_title("target" if method == "target" else style(method)["label"])
        last.set_xlabel(xlabel)
    return fig
