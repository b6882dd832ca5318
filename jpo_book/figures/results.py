"""Panels that show results of studies, the same for all experiments, and the style of all figures.

The data sets are those of `jpo_book.studies.combine`: `classical` (data_seed, solver, problem, ...) and `joint`
(data_seed, group_size, solver, network_seed, problem, ...).
"""

from __future__ import annotations

import functools

import numpy as np
import xarray as xr

from jpo_book.figures.figure_data import attach_figure_data
from jpo_book.names import METHODS
from jpo_lib.metrics import outcome

MOST_CHARACTERS = 30  # of the numbers along one of two panels side by side
THUMBNAIL_DPI = 60  # twice the width of a card of the gallery


def use_book_style() -> None:
    """Settings of all figures of the book: SVG that is equal byte for byte in equal runs, readable type, data attached."""
    import matplotlib as mpl

    mpl.rcParams.update(
        {
            "svg.hashsalt": "jpo-lib",
            "svg.fonttype": "path",
            "figure.dpi": 100,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.labelsize": 9,
            "legend.fontsize": 8,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "legend.frameon": False,
            "lines.linewidth": 1.5,
            "lines.markersize": 4,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.6,
        }
    )
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
        _add_thumbnails()
    except (ImportError, AttributeError):
        pass  # outside a notebook the caller chooses the format
    attach_figure_data()


def _add_thumbnails() -> None:
    """Let each figure carry a small PNG beside its SVG: the gallery of the book would otherwise fetch all figures in full."""
    from IPython import get_ipython
    from IPython.core.pylabtools import print_figure
    from matplotlib.figure import Figure

    formatter = get_ipython().display_formatter.formatters["image/png"]
    formatter.for_type(Figure, functools.partial(print_figure, fmt="png", base64=True, dpi=THUMBNAIL_DPI))


def _style(method: str) -> dict:
    label, color, marker, line = METHODS[method]
    return {"label": label, "color": color, "marker": marker, "linestyle": line}


def _against_group_size(ax, values: xr.DataArray, style: dict) -> None:
    """A curve over n: mean over all seeds, a band from the smallest to the largest, and a dot for every seed."""
    values = values.stack(seeds=[d for d in values.dims if d != "group_size"])
    sizes = values.group_size.values
    ax.fill_between(
        sizes, values.min("seeds"), values.max("seeds"), color=style["color"], alpha=0.15, linewidth=0
    )
    for seed in range(values.sizes["seeds"]):
        ax.plot(
            sizes,
            values.isel(seeds=seed),
            linestyle="none",
            marker=".",
            markersize=3,
            color=style["color"],
            alpha=0.5,
        )
    ax.plot(sizes, values.mean("seeds"), **style)


def _level(ax, values: xr.DataArray, sizes, style: dict) -> None:
    """A solver that knows nothing of n: a level line, with the range over seeds as a band."""
    values = values.stack(seeds=list(values.dims))
    style = {**style, "marker": None}
    ax.fill_between(
        sizes,
        [float(values.min())] * len(sizes),
        [float(values.max())] * len(sizes),
        color=style["color"],
        alpha=0.12,
        linewidth=0,
    )
    ax.plot(sizes, [float(values.mean())] * len(sizes), **style)


def plain_ticks(axis) -> None:
    """Plain numbers at a logarithmic axis that is shorter than a power of ten; call it after everything is drawn."""
    low, high = axis.get_view_interval()
    if high < 10 * low:
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: f"{value:g}")


def group_size_ticks(ax, sizes) -> None:
    """A tick at each n; where all numbers side by side would be too long, every other one is written, the largest among them."""
    names = [str(n) for n in sizes]
    step = 1 if sum(len(name) + 1 for name in names) <= MOST_CHARACTERS else 2
    ax.set_xticks(sizes, [name if (len(names) - 1 - i) % step == 0 else "" for i, name in enumerate(names)])


def group_size_axis(ax, sizes) -> None:
    ax.set_xscale("log", base=2)
    group_size_ticks(ax, sizes)
    ax.minorticks_off()
    ax.set_xlabel("problems solved jointly, n (dimensionless)")


def fraction_better(study: xr.Dataset, reference: xr.Dataset) -> xr.DataArray:
    """Fraction of problems solved better than the reference, ties not counted; one value for each seed."""
    loss, solved, reference_loss, reference_solved = xr.broadcast(
        study.loss, study.solved, reference.loss, reference.solved
    )
    return (xr.zeros_like(loss) + outcome(loss, solved, reference_loss, reference_solved) > 0).mean("problem")


def plot_fraction_better(
    ax, classical: xr.Dataset, joint: xr.Dataset, methods=("JointRefined", "Joint")
) -> None:
    """Fraction of problems for which JPO and gradient descent find better solutions than BFGS, against n."""
    reference = classical.sel(solver="BFGS", drop=True)
    for method in methods:
        _against_group_size(
            ax, fraction_better(joint.sel(solver=method, drop=True), reference), _style(method)
        )
    sizes = joint.group_size.values
    _level(
        ax,
        fraction_better(classical.sel(solver="GradientDescent", drop=True), reference),
        sizes,
        _style("GradientDescent"),
    )
    group_size_axis(ax, sizes)
    ax.set(ylabel="fraction better than BFGS", ylim=(-0.02, 1.02))
    ax.legend(loc="best")


def plot_solved(
    ax,
    classical: xr.Dataset,
    joint: xr.Dataset,
    methods=("JointRestarted", "JointRefined", "Joint", "NetworkStart"),
    levels=("ClassicalStart", "MultiStart", "Adam", "GradientDescent", "BFGS"),
) -> None:
    """Solved rate against n; solvers of single problems are level lines."""
    sizes = joint.group_size.values
    for method in (m for m in methods if m in joint.solver):
        _against_group_size(ax, joint.solved.sel(solver=method, drop=True).mean("problem"), _style(method))
    for method in levels:
        if method in classical.solver:
            _level(ax, classical.solved.sel(solver=method, drop=True).mean("problem"), sizes, _style(method))
    group_size_axis(ax, sizes)
    ax.set(ylabel="fraction of problems solved", ylim=(-0.02, 1.02))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def plot_histories(
    ax,
    classical: xr.Dataset,
    joint: xr.Dataset,
    group_size: int,
    methods=("BFGS", "GradientDescent", "MultiStart", "JointRefined"),
) -> None:
    """Loss divided by the loss that counts as solved, against evaluations: median over problems, and quartiles."""
    for method in methods:
        source = classical if method in classical.solver else joint.sel(group_size=group_size)
        ratio = source.loss_history.sel(solver=method, drop=True) / source.threshold
        ratio = ratio.stack(runs=[d for d in ratio.dims if d != "evaluation"])
        low, middle, high = (ratio.quantile(q, "runs") for q in (0.25, 0.5, 0.75))
        style = {**_style(method), "marker": None}
        ax.fill_between(
            ratio.evaluation, low, high, color=style["color"], alpha=0.15, linewidth=0, step="post"
        )
        ax.plot(ratio.evaluation, middle, drawstyle="steps-post", **style)
    ax.axhline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="evaluations of loss and gradient per problem",
        ylabel="loss / solved threshold",
    )
    ax.legend(loc="best")


def plot_loss_distribution(
    ax,
    classical: xr.Dataset,
    joint: xr.Dataset,
    group_size: int,
    methods=(
        "BFGS",
        "GradientDescent",
        "Adam",
        "MultiStart",
        "ClassicalStart",
        "NetworkStart",
        "Joint",
        "JointRefined",
        "JointRestarted",
    ),
) -> None:
    """Empirical distribution of final losses, relative to the solved threshold, all problems and seeds together."""
    for method in methods:
        if method not in classical.solver and method not in joint.solver:
            continue
        source = classical if method in classical.solver else joint.sel(group_size=group_size)
        ratio = np.sort((source.loss.sel(solver=method, drop=True) / source.threshold).values.ravel())
        style = {**_style(method), "marker": None}
        ax.plot(
            np.concatenate([ratio[:1], ratio]),
            np.linspace(0, 1, ratio.size + 1),
            drawstyle="steps-post",
            **style,
        )
    ax.axvline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log",
        xlabel="final loss / solved threshold (dimensionless)",
        ylabel="fraction of problems at or below",
        ylim=(0, 1.02),
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def plot_loss_history(ax, result, data, method: str) -> None:
    """Loss of every problem divided by its solved threshold, against evaluations; the median as a thick line."""
    ratio = result.loss_history / np.asarray(data.threshold)[:, None]
    evaluations = np.arange(1, ratio.shape[1] + 1)
    label, color, _, _ = METHODS[method]
    for line in ratio:
        ax.plot(evaluations, line, color=color, linewidth=0.4, alpha=0.3)
    ax.plot(evaluations, np.median(ratio, axis=0), color=color, linewidth=2.2, label=label)
    ax.axhline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="evaluations of loss and gradient per problem",
        ylabel="loss / solved threshold",
    )
    ax.legend(loc="best")
