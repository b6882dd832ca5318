"""Panels on alignment in training and on tangent kernels, for data sets of `jpo_book.analysis.alignment`."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_book.analysis.alignment import coupling, early, not_solved
from jpo_book.analysis.resample import mean
from jpo_book.figures.panels import band

FEWEST = 5  # problems, over all runs, that a mean must rest on
RUN = ("data_seed", "network_seed")
# What is drawn: a quantity, the largest or the smallest n, and how it looks.
CURVES = (
    ("alignment", -1, "step of the shared network, largest $n$", "#0072B2", "o", "-"),
    ("alignment_own", -1, "own gradient at the same $x$", "#D55E00", "s", "--"),
    ("alignment", 0, "step of a network for one problem, $n = 1$", "#009E73", "^", ":"),
)
SIZES = ("#009E73", "#E69F00", "#CC79A7", "#56B4E9")  # smaller n, in turn; the largest is blue as above


def plot_alignment(ax, runs: xr.Dataset) -> None:
    """Mean alignment of the problems that are not solved yet, against the training step.

    A thin line for each run, a thick one for all, and a band for the 95 % interval of the mean.
    """
    for name, size, label, color, marker, line in CURVES:
        chosen = runs.isel(group_size=size)
        steps = chosen.step.values.reshape(-1, chosen.sizes["recorded"])[0]
        values = chosen[name].where(not_solved(chosen)).transpose("recorded", *RUN, "problem")
        enough = values.notnull().sum((*RUN, "problem")) >= FEWEST
        single = values.mean("problem").where(enough).stack(run=RUN)
        ax.plot(steps, single, color=color, linewidth=0.5, alpha=0.5)
        found = [mean(one) if there else None for one, there in zip(values, enough)]
        low, middle, high = ([getattr(one, end, np.nan) for one in found] for end in ("low", "value", "high"))
        look = {"color": color, "marker": marker, "linestyle": line, "label": label}
        band(ax, steps, low, middle, high, 0.18, **look)
    ax.axhline(0.0, color="#777777", linewidth=0.8)
    ax.set(xlabel="training step", ylim=(-1.05, 1.05))


def plot_outcomes(ax, runs: xr.Dataset) -> None:
    """Solved rate after refinement against mean early alignment: a point for each run, its look by n."""
    sizes = runs.group_size.values
    alignment = early(runs).mean("problem")
    solved = runs.solved.sel(solver="JointRefined", drop=True).mean("problem")
    for position, size in enumerate(sizes):
        look = {"color": SIZES[position % len(SIZES)], "marker": "^sDv"[position % 4]}
        if size == sizes[-1]:
            look = {"color": "#0072B2", "marker": "o"}
        points = (v.sel(group_size=size).values.ravel() for v in (alignment, solved))
        ax.plot(*points, linestyle="none", alpha=0.8, label=f"$n = {size}$", **look)
    ax.margins(x=0.15)
    ax.locator_params(axis="x", nbins=4)
    ax.set(xlabel="mean early alignment", ylim=(-0.03, 1.05))
    ax.legend(loc="best", handletextpad=0.1, labelspacing=0.2)


def plot_coupling(ax, kernel, sort_by) -> object:
    """Coupling C_ij between problems as a matrix, sorted. Returns the image.

    Arguments:
        kernel: traces k_ij, shape (N, N), unit x^2.
        sort_by: what the problems are sorted by, such as an unknown of the solution, shape (N,).
    """
    order = np.argsort(np.asarray(sort_by), kind="stable")
    matrix = coupling(np.asarray(kernel)[np.ix_(order, order)])
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.grid(False)
    last = len(order) - 1
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks([0, last], [1, last + 1])
    return image
