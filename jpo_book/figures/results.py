"""Panels that show results of studies, the same for all experiments, and the style of all figures.

The data sets are those of `jpo_book.studies.combine`: `classical` (data_seed, solver, problem, ...) and
`joint` (data_seed, group_size, solver, network_seed, problem, ...).
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from IPython.core.getipython import get_ipython
from matplotlib_inline.backend_inline import set_matplotlib_formats

from jpo_book.analysis.resample import compared
from jpo_book.figures.figure_data import attach_figure_data, attach_thumbnails
from jpo_book.figures.panels import (
    REFERENCE,
    band,
    by_size,
    colour_of,
    curve,
    group_size_axis,
    legend_beside,
    select,
    style,
)

# Solvers of one problem at a time.
SINGLE = ("BFGS", "GradientDescent", "Adam", "MultiStart", "ClassicalStart")
SHARED = ("NetworkStart", "Joint", "JointRefined", "JointRestarted")
Plain = tuple[xr.Dataset, xr.Dataset] | None  # classical solvers and plain networks; None: not computed


def use_book_style() -> None:
    """Settings of all figures of the book: equal SVG in equal runs, readable type, data attached."""
    plt.rcdefaults()  # not those of a matplotlibrc
    plt.style.use(Path(__file__).with_name("book.mplstyle"))
    if get_ipython() is not None:  # outside a notebook the caller chooses the format
        plt.switch_backend("module://matplotlib_inline.backend_inline")  # MPLBACKEND may say another one
        set_matplotlib_formats("svg", metadata={"Date": None})
        attach_thumbnails()
        attach_figure_data()


def _against_group_size(ax, values: xr.DataArray, method: str) -> None:
    """A curve over n: mean over all seeds, a band between the extremes, and a dot for every seed."""
    look, rows = style(method), by_size(values)
    dots = {"marker": ".", "markersize": 3, "alpha": 0.5, "linestyle": "none"}
    ax.plot(values.group_size, rows, color=look["color"], **dots)
    curve(ax, values.group_size, rows, 0.15, **look)


def _level(ax, values: xr.DataArray, sizes, method: str) -> None:
    """A solver that knows nothing of n: a level line, with the range over seeds as a band."""
    curve(ax, sizes, [values.values] * len(sizes), **style(method, marker=False))


def fraction_better(study: xr.Dataset, reference: xr.Dataset) -> xr.DataArray:
    """Fraction of problems solved better than the reference, ties not counted; one value for each seed."""
    return (compared(study, reference) > 0).mean("problem")


def plot_fraction_better(ax, classical: xr.Dataset, joint: xr.Dataset, plain: Plain = None) -> None:
    """Fraction of problems for which JPO and gradient descent find better solutions than BFGS, against n.

    Arguments:
        ax: the panel.
        classical, joint: the study.
        plain: the same of plain networks, compared with BFGS on their own problems.
    """
    better = {
        method: fraction_better(select(method, classical, joint), select("BFGS", classical, joint))
        for method in ("JointRefined", "Joint", "GradientDescent")
    }
    for method in ("JointRefined", "Joint"):
        _against_group_size(ax, better[method], method)
    _level(ax, better["GradientDescent"], joint.group_size, "GradientDescent")
    group_size_axis(ax, joint.group_size.values)
    ax.set(ylabel="fraction better than BFGS", ylim=(-0.02, 1.02))
    ax.legend(loc="best")
    if plain is not None:
        own = fraction_better(select("JointRefined", *plain), select("BFGS", *plain))
        _against_group_size(ax, own, "JointPlain")
        end = own.group_size.values[-1], float(own.isel(group_size=-1).mean())
        look = {"color": colour_of("JointPlain"), "ha": "right", "fontsize": 8}
        shift = 0, 6 if end[1] < 0.8 else -14
        ax.annotate("plain network, refined", end, shift, textcoords="offset points", **look)


def plot_solved(
    ax,
    classical: xr.Dataset,
    joint: xr.Dataset,
    methods=SHARED[::-1],
    levels=SINGLE[::-1],
    plain: Plain = None,
) -> None:
    """Solved rate against n, also of plain networks; solvers of single problems are level lines."""
    for method in (m for m in methods if m in joint.solver):
        _against_group_size(ax, joint.solved.sel(solver=method, drop=True).mean("problem"), method)
    for method in (m for m in levels if m in classical.solver):
        rates = classical.solved.sel(solver=method, drop=True).mean("problem")
        _level(ax, rates, joint.group_size, method)
    if plain is not None:
        own = plain[1].solved.sel(solver="JointRefined", drop=True)
        _against_group_size(ax, own.mean("problem"), "JointPlain")
    group_size_axis(ax, joint.group_size.values)
    ax.set(ylabel="fraction of problems solved", ylim=(-0.02, 1.02))
    legend_beside(ax)


def _loss_axes(ax) -> None:
    """Loss relative to the threshold against evaluations, both logarithmic."""
    ax.axhline(1.0, **REFERENCE)
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel="evaluations of loss and gradient per problem", ylabel="loss / solved threshold")
    ax.legend(loc="best")


def plot_histories(ax, classical: xr.Dataset, joint: xr.Dataset, group_size: int) -> None:
    """Loss divided by the solved threshold, against evaluations: median over problems, and quartiles."""
    for method in ("BFGS", "GradientDescent", "MultiStart", "JointRefined"):
        runs = select(method, classical, joint.sel(group_size=group_size))
        ratio = runs.loss_history / runs.threshold
        low, middle, high = ratio.quantile([0.25, 0.5, 0.75], [d for d in ratio.dims if d != "evaluation"])
        look = style(method, marker=False)
        band(ax, ratio.evaluation, low, middle, high, 0.15, drawstyle="steps-post", **look)
    _loss_axes(ax)


def plot_loss_distribution(ax, classical: xr.Dataset, joint: xr.Dataset, group_size: int) -> None:
    """Empirical distribution of final losses, relative to the solved threshold, over problems and seeds."""
    for method in (m for m in SINGLE + SHARED if m in classical.solver or m in joint.solver):
        runs = select(method, classical, joint.sel(group_size=group_size))
        ratio = (runs.loss / runs.threshold).fillna(np.inf)  # a run without a loss is never at or below
        ax.ecdf(ratio.values.ravel(), **style(method, marker=False))
    ax.axvline(1.0, **REFERENCE)
    ax.set(xscale="log", xlabel="final loss / solved threshold (dimensionless)")
    ax.set(ylabel="fraction of problems at or below", ylim=(0, 1.02))
    legend_beside(ax)


def plot_loss_history(ax, result, data, method: str) -> None:
    """Loss of every problem divided by its solved threshold, against evaluations;
    the median as a thick line."""
    ratio = result.loss_history / np.asarray(data.threshold)[:, None]
    plot_all_and_median(ax, np.arange(1, ratio.shape[1] + 1), ratio, method)
    _loss_axes(ax)


def plot_all_and_median(ax, evaluations, ratio, method: str, linewidth: float = 2.2) -> None:
    """Thin lines for all problems, the rows of `ratio`, and a thick one for their median."""
    look = style(method)
    ax.plot(evaluations, ratio.T, color=look["color"], linewidth=0.4, alpha=0.3)
    median = np.median(ratio, axis=0)
    ax.plot(evaluations, median, color=look["color"], linewidth=linewidth, label=look["label"])
