"""Panels on when joint optimization pays: solved rates and costs against n."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_book.analysis.costs import costs_of_runs, joint_costs, refined_method
from jpo_book.figures.results import group_size_axis, group_size_ticks, plain_ticks
from jpo_book.names import METHODS

COST_LEVELS = {0.5: ("o", ":"), 0.9: ("s", "-"), 0.99: ("D", "--")}


def plot_costs(
    ax,
    classical: xr.Dataset,
    joint: xr.Dataset,
    opponents=("MultiStart", "MultiStartAdam", "NetworkMultiStart", "NetworkStart"),
    levels=tuple(COST_LEVELS),
) -> None:
    """Evaluations per problem until a fraction of the problems is solved, against n: mean of the seeds that get there, and their range.

    Level lines are opponents that do not depend on n. A line is missing where no run solves that many problems.
    """
    sizes = joint.group_size.values

    def draw(costs, method, level, label):
        values = (
            costs.stack(seeds=[d for d in costs.dims if d != "group_size"])
            .transpose("group_size", "seeds")
            .values
        )
        # A point needs all seeds: the mean of those that succeed would flatter.
        middle = np.where(np.isnan(values).any(axis=1), np.nan, values.mean(axis=1))
        marker, line = COST_LEVELS[level]
        ax.plot(sizes, middle, color=METHODS[method][1], marker=marker, linestyle=line, label=label)
        ax.fill_between(
            sizes,
            np.where(np.isnan(middle), np.nan, values.min(axis=1)),
            np.where(np.isnan(middle), np.nan, values.max(axis=1)),
            color=METHODS[method][1],
            alpha=0.12,
            linewidth=0,
        )

    refined = refined_method(joint)
    for level in levels:
        draw(joint_costs(joint, level), refined, level, f"{METHODS[refined][0]}, {100 * level:g} %")
    for method in (m for m in opponents if m in classical.solver or m in joint.solver):
        for level in levels:
            if method in classical.solver:
                costs = costs_of_runs(classical.sel(solver=method, drop=True), level)
            else:  # the untrained network of the smallest group: training does not enter
                costs = costs_of_runs(
                    joint.sel(solver=method, drop=True).isel(group_size=0, drop=True), level
                )
            if bool(costs.notnull().all()):
                ax.plot(
                    sizes,
                    np.full(len(sizes), float(costs.mean())),
                    color=METHODS[method][1],
                    linestyle=COST_LEVELS[level][1],
                    label=f"{METHODS[method][0]}, {100 * level:g} %",
                )
    group_size_axis(ax, sizes)
    ax.set(yscale="log", ylabel="evaluations per problem")
    plain_ticks(ax.yaxis)


def plot_supervised_cost(ax, study: xr.Dataset, levels=tuple(COST_LEVELS)) -> None:
    """Evaluations per problem of supervised training with BFGS from its answers, against n, where all runs solve a fraction of the problems.

    The study of generalization counts each simulated pair as one evaluation and lets BFGS run to its end, so that these are upper bounds.
    """
    refined = study.sel(solver="SupervisedRefined", drop=True)
    label, color, _, _ = METHODS["SupervisedRefined"]
    runs = [d for d in refined.solved.dims if d not in ("group_size", "problem")]
    for level in levels:
        reached = (refined.solved.mean("problem") >= level).all(runs)
        costs = refined.num_evaluations.mean(["problem", *runs]).where(reached)
        marker, line = COST_LEVELS[level]
        ax.plot(
            study.group_size,
            costs,
            color=color,
            marker=marker,
            linestyle=line,
            label=f"{label}, {100 * level:g} %",
        )
    there = [int(n) for n in ax.get_xticks()]  # names of further sizes, where they have room
    ticks = sorted(
        [
            *there,
            *(n for n in map(int, study.group_size.values) if all(max(n, m) >= 3 * min(n, m) for m in there)),
        ]
    )
    group_size_ticks(ax, ticks)


def cost_legend(ax, panels) -> None:
    """Two short legends on otherwise empty axes: a colour for each method and a line for each fraction that appear in the panels."""
    from matplotlib.lines import Line2D

    labels = [
        line.get_label().rpartition(", ")[::2]
        for panel in panels
        for line in panel.lines
        if "%" in str(line.get_label())
    ]
    methods = [
        (name, color) for name, color, _, _ in METHODS.values() if name in {name for name, _ in labels}
    ]
    fractions = [
        (f"{100 * level:g} %", *shape)
        for level, shape in COST_LEVELS.items()
        if f"{100 * level:g} %" in {end for _, end in labels}
    ]
    colors = [Line2D([], [], color=color, linewidth=3, label=name) for name, color in methods]
    lines = [
        Line2D([], [], color="#444444", marker=marker, linestyle=line, label=f"{fraction} of the problems")
        for fraction, marker, line in fractions
    ]
    ax.set_axis_off()
    for handles, title, place in (
        (colors, "Colour: the method", "upper left"),
        (lines, "Line: solved until then", "lower left"),
    ):
        legend = ax.legend(
            handles=handles,
            title=title,
            loc=place,
            alignment="left",
            fontsize=8,
            title_fontsize=8,
            handlelength=2.8,
        )
        legend.get_title().set_fontweight("bold")
        if handles is colors:
            ax.add_artist(legend)  # else the second one would take its place


def plot_not_computed(ax, reason: str) -> None:
    """An empty panel that says why it is empty."""
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes, fontsize=8, color="#6b6b6b")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
