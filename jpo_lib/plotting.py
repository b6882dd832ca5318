"""Figures: functions that take Axes and results of studies, and draw one panel each.

The data sets are those of `jpo_lib.study.combine`: `classical` (data_seed, solver, problem, ...) and `joint`
(data_seed, group_size, solver, network_seed, problem, ...).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_lib.metrics import outcome

# Colours after Okabe and Ito, which stay apart for colour-blind readers; markers and line styles differ as well.
METHODS = {
    "Joint": ("JPO", "#0072B2", "o", "-"),
    "JointRefined": ("JPO, refined", "#003f66", "s", "-"),
    "NetworkStart": ("untrained network, then BFGS", "#56B4E9", "^", "--"),
    "BFGS": ("BFGS", "#000000", "D", "-"),
    "GradientDescent": ("gradient descent", "#D55E00", "v", "-"),
    "Adam": ("Adam", "#E69F00", "<", "-"),
    "MultiStart": ("multi-start BFGS", "#CC79A7", ">", "-."),
    "ClassicalStart": ("feature start, then BFGS", "#009E73", "*", ":"),
}
THEORY, MEASURED = "#CC3377", "#0072B2"


def use_book_style() -> None:
    """Settings of all figures of the book: SVG that is equal byte for byte in equal runs, and readable type."""
    import matplotlib as mpl

    mpl.rcParams.update({
        "svg.hashsalt": "jpo-lib", "svg.fonttype": "path", "figure.dpi": 100, "savefig.bbox": "tight",
        "figure.constrained_layout.use": True, "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8,
        "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False,
        "axes.titlelocation": "left", "legend.frameon": False, "lines.linewidth": 1.5, "lines.markersize": 4,
        "axes.axisbelow": True, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6,
    })
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
    except (ImportError, AttributeError):
        pass  # outside a notebook the caller chooses the format


def _style(method: str) -> dict:
    label, color, marker, line = METHODS[method]
    return {"label": label, "color": color, "marker": marker, "linestyle": line}


def _against_group_size(ax, values: xr.DataArray, style: dict) -> None:
    """A curve over n: mean over all seeds, a band from the smallest to the largest, and a dot for every seed."""
    values = values.stack(seeds=[d for d in values.dims if d != "group_size"])
    sizes = values.group_size.values
    ax.fill_between(sizes, values.min("seeds"), values.max("seeds"), color=style["color"], alpha=0.15, linewidth=0)
    for seed in range(values.sizes["seeds"]):
        ax.plot(sizes, values.isel(seeds=seed), linestyle="none", marker=".", markersize=3, color=style["color"], alpha=0.5)
    ax.plot(sizes, values.mean("seeds"), **style)


def _level(ax, values: xr.DataArray, sizes, style: dict) -> None:
    """A solver that knows nothing of n: a level line, with the range over seeds as a band."""
    values = values.stack(seeds=list(values.dims))
    style = {**style, "marker": None}
    ax.fill_between(sizes, [float(values.min())] * len(sizes), [float(values.max())] * len(sizes), color=style["color"], alpha=0.12, linewidth=0)
    ax.plot(sizes, [float(values.mean())] * len(sizes), **style)


def _group_size_axis(ax, sizes) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.set_xlabel("problems solved jointly, n (dimensionless)")


def fraction_better(study: xr.Dataset, reference: xr.Dataset) -> xr.DataArray:
    """Fraction of problems solved better than the reference, ties not counted; one value for each seed."""
    loss, solved, reference_loss, reference_solved = xr.broadcast(study.loss, study.solved, reference.loss, reference.solved)
    return (xr.zeros_like(loss) + outcome(loss, solved, reference_loss, reference_solved) > 0).mean("problem")


def plot_fraction_better(ax, classical: xr.Dataset, joint: xr.Dataset, methods=("JointRefined", "Joint")) -> None:
    """Fraction of problems for which JPO and gradient descent find better solutions than BFGS, against n."""
    reference = classical.sel(solver="BFGS", drop=True)
    for method in methods:
        _against_group_size(ax, fraction_better(joint.sel(solver=method, drop=True), reference), _style(method))
    sizes = joint.group_size.values
    _level(ax, fraction_better(classical.sel(solver="GradientDescent", drop=True), reference), sizes, _style("GradientDescent"))
    _group_size_axis(ax, sizes)
    ax.set(ylabel="fraction better than BFGS", ylim=(-0.02, 1.02))
    ax.legend(loc="best")


def plot_solved(ax, classical: xr.Dataset, joint: xr.Dataset, methods=("JointRefined", "Joint", "NetworkStart"),
                levels=("ClassicalStart", "MultiStart", "Adam", "GradientDescent", "BFGS")) -> None:
    """Solved rate against n; solvers of single problems are level lines."""
    sizes = joint.group_size.values
    for method in methods:
        _against_group_size(ax, joint.solved.sel(solver=method, drop=True).mean("problem"), _style(method))
    for method in levels:
        if method in classical.solver:
            _level(ax, classical.solved.sel(solver=method, drop=True).mean("problem"), sizes, _style(method))
    _group_size_axis(ax, sizes)
    ax.set(ylabel="fraction of problems solved", ylim=(-0.02, 1.02))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def plot_histories(ax, classical: xr.Dataset, joint: xr.Dataset, group_size: int, methods=("BFGS", "GradientDescent", "MultiStart", "JointRefined")) -> None:
    """Loss divided by the loss that counts as solved, against evaluations: median over problems, and quartiles."""
    for method in methods:
        source = classical if method in classical.solver else joint.sel(group_size=group_size)
        ratio = source.loss_history.sel(solver=method, drop=True) / source.threshold
        ratio = ratio.stack(runs=[d for d in ratio.dims if d != "evaluation"])
        low, middle, high = (ratio.quantile(q, "runs") for q in (0.25, 0.5, 0.75))
        style = {**_style(method), "marker": None}
        ax.fill_between(ratio.evaluation, low, high, color=style["color"], alpha=0.15, linewidth=0, step="post")
        ax.plot(ratio.evaluation, middle, drawstyle="steps-post", **style)
    ax.axhline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel="evaluations of loss and gradient per problem", ylabel="loss / solved threshold")
    ax.legend(loc="best")


def plot_loss_distribution(ax, classical: xr.Dataset, joint: xr.Dataset, group_size: int,
                           methods=("BFGS", "GradientDescent", "Adam", "MultiStart", "ClassicalStart", "NetworkStart", "Joint", "JointRefined")) -> None:
    """Empirical distribution of final losses, relative to the solved threshold, all problems and seeds together."""
    for method in methods:
        if method not in classical.solver and method not in joint.solver:
            continue
        source = classical if method in classical.solver else joint.sel(group_size=group_size)
        ratio = np.sort((source.loss.sel(solver=method, drop=True) / source.threshold).values.ravel())
        style = {**_style(method), "marker": None}
        ax.plot(np.concatenate([ratio[:1], ratio]), np.linspace(0, 1, ratio.size + 1), drawstyle="steps-post", **style)
    ax.axvline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlabel="final loss / solved threshold (dimensionless)", ylabel="fraction of problems at or below", ylim=(0, 1.02))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def plot_waveform(ax, problem, data, index: int = 0) -> None:
    """A clean wave packet and its noisy samples."""
    settings = problem.settings
    times = np.arange(settings["num_points"]) * settings["window"] / settings["num_points"]
    ax.plot(times, data.y[index], ".", markersize=2, color="#999999", label="target $y$")
    ax.plot(times, problem.simulate(data.x_true[index], None), color=MEASURED, label="signal $u$")
    ax.set(xlabel="time $t$ (radians)", ylabel="$u(t)$ (dimensionless)")
    ax.legend(loc="best")


def plot_landscape(ax, problem, data, index: int = 0) -> None:
    """Loss and derivative of one problem with one unknown, over the range of the prior."""
    import jax

    (lower,), (upper,) = problem.bounds
    trial = np.linspace(lower, upper, 1200, dtype=data.x0.dtype)[:, None]
    loss, slope = jax.vmap(lambda x: jax.value_and_grad(problem.objective)(x, None, data.y[index]))(trial)
    ax.plot(trial, loss, color=MEASURED, label="loss $L$")
    ax.plot(trial, slope, color=METHODS["Adam"][1], linewidth=0.8, label="derivative $L'$")
    ax.axvline(float(data.x_true[index, 0]), color="#777777", linewidth=0.8, linestyle=":")
    ax.set(xlabel="trial centre $t_0$ (radians)", ylabel="loss, derivative (dimensionless)")
    ax.legend(loc="best")


def plot_signals(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Targets and solutions side by side for the first problems that BFGS leaves unsolved: one row per problem."""
    import matplotlib.pyplot as plt

    settings = problem.settings
    times = np.arange(settings["num_points"]) * settings["window"] / settings["num_points"]
    joint = joint.isel(network_seed=0)
    unsolved = np.flatnonzero(~classical.solved.sel(solver="BFGS").values)[:count]
    methods = ("BFGS", "Joint", "JointRefined")
    fig, axes = plt.subplots(max(1, len(unsolved)), 3, figsize=(7.4, 1.5 * max(1, len(unsolved)) + 0.3), sharex=True, sharey=True, squeeze=False)
    for row, index in zip(axes, unsolved):
        for ax, method in zip(row, methods):
            source = classical if method in classical.solver else joint
            x = source.x.sel(solver=method).isel(problem=index).values
            ax.plot(times, data.y[index], ".", markersize=1.5, color="#aaaaaa")
            ax.plot(times, problem.simulate(x.astype(data.x0.dtype), None), color=METHODS[method][1], linewidth=1.2)
        row[0].set_ylabel(f"problem {index}\n$u$ (dimensionless)")
    for ax, method in zip(axes[0], methods):
        ax.set_title(METHODS[method][0])
    for ax in axes[-1]:
        ax.set_xlabel("time $t$ (radians)")
    return fig


def plot_loss_history(ax, result, data, method: str) -> None:
    """Loss of every problem divided by its solved threshold, against evaluations; the median as a thick line."""
    ratio = result.loss_history / np.asarray(data.threshold)[:, None]
    evaluations = np.arange(1, ratio.shape[1] + 1)
    label, color, _, _ = METHODS[method]
    for line in ratio:
        ax.plot(evaluations, line, color=color, linewidth=0.4, alpha=0.3)
    ax.plot(evaluations, np.median(ratio, axis=0), color=color, linewidth=2.2, label=label)
    ax.set(xscale="log", yscale="log", xlabel="evaluations of loss and gradient per problem", ylabel="loss / solved threshold")
    ax.legend(loc="best")


def draw_schematic(ax) -> None:
    """Joint parameter optimization as a flow chart."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    def box(x, y, text, width=1.5, height=0.8, color="#f4f4f4"):
        ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0.02,rounding_size=0.12",
                                    facecolor=color, edgecolor="#333333", linewidth=1.0))
        ax.text(x, y, text, ha="center", va="center", fontsize=9)

    def arrow(start, end, bend=0.0, **style):
        ax.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=11,
                                     **{"color": "#333333", "linewidth": 1.2, **style}))

    box(0.8, 1.55, "target $y_i$")
    box(0.8, 0.45, "identifier $\\gamma_i$")
    box(3.3, 1.0, "network\nweights $\\theta$", width=1.6, height=1.3, color="#d6e6f4")
    box(5.5, 1.0, "$x_i$", width=0.8)
    box(7.5, 1.0, "simulator\n$F$", width=1.5, height=1.3, color="#fbe5cf")
    box(9.6, 1.0, "$F(x_i)$", width=1.1)
    box(11.7, 1.0, "loss\n$\\mathcal{L}(F(x_i), y_i)$", width=1.9, height=1.1, color="#dcefe4")
    for start, end in (((1.58, 1.5), (2.45, 1.25)), ((1.58, 0.5), (2.45, 0.75)), ((4.15, 1.0), (5.05, 1.0)), ((5.95, 1.0), (6.7, 1.0)),
                       ((8.3, 1.0), (9.0, 1.0)), ((10.2, 1.0), (10.7, 1.0))):
        arrow(start, end)
    arrow((0.8, 2.0), (11.7, 1.62), bend=-0.13)
    ax.text(6.2, 2.6, "the same target enters the loss", ha="center", fontsize=8, color="#555555")
    back = {"linestyle": "--", "color": METHODS["GradientDescent"][1]}
    arrow((11.7, 0.4), (7.5, 0.3), bend=-0.25, **back)
    arrow((7.4, 0.28), (3.3, 0.3), bend=-0.25, **back)
    ax.text(7.5, -0.6, "gradients, summed over all $n$ problems, change $\\theta$", ha="center", fontsize=8, color=METHODS["GradientDescent"][1])
    ax.set(xlim=(-0.1, 12.8), ylim=(-0.8, 2.9))
    ax.set_axis_off()
