"""Panels on when joint optimization pays, costs against n, and on run time and memory of devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from jpo_book.analysis.costs import cost, crossing, of_each_size, refined_method
from jpo_book.analysis.resample import Estimate
from jpo_book.figures.panels import band, group_size_axis, group_size_ticks, plain_ticks, select, style
from jpo_book.names import EXPERIMENTS, METHODS

COST_LEVELS: dict[float, tuple[str, Any]] = {0.5: ("o", ":"), 0.9: ("s", "-"), 0.99: ("D", "--")}
OPPONENTS = ("MultiStart", "MultiStartAdam", "NetworkMultiStart", "NetworkStart")
LINES, FILLS = ("-", "--", ":", "-."), ("full", "none", "left", "right")  # one device after the other


def _style(method: str, level: float) -> dict:
    marker, line = COST_LEVELS[level]
    look = style(method)
    return look | {"marker": marker, "linestyle": line, "label": f"{look['label']}, {100 * level:g} %"}


def _with_band(ax, sizes, found: Sequence[Estimate], **look) -> None:
    """A curve where its values are known, with their intervals where these end."""
    ends = np.array([(one.low, one.value, one.high) for one in found])
    ends[[one.upper != one.value for one in found]] = np.nan
    low, middle, high = ends.T
    band(ax, sizes, low, middle, np.where(np.isinf(high), middle, high), **look)


def plot_costs(ax, classical: xr.Dataset, joint: xr.Dataset) -> None:
    """Evaluations per problem until a fraction of the problems is solved, against n:
    mean of the seeds, and a band for its 95 % interval.

    A point needs all seeds: the mean of those that succeed would flatter. Level lines are opponents that do
    not depend on n; a hollow triangle at the right says that one ended before, so that its cost is more than
    that. Horizontal bars are the crossing points with multi-start BFGS, with their intervals.
    """
    sizes = joint.group_size.values
    # Of an untrained network the smallest group is taken: training does not enter.
    smallest = joint.isel(group_size=0, drop=True)
    known = [method for method in OPPONENTS if method in classical.solver or method in joint.solver]
    others = {method: select(method, classical, smallest) for method in known}
    for level in COST_LEVELS:
        own = [cost(one, level, trained) for one, trained in of_each_size(joint)]
        _with_band(ax, sizes, own, **_style(refined_method(joint), level))
        for method, study in others.items():
            found, look = cost(study, level), _style(method, level) | {"marker": None}
            if found.value == found.upper:
                _with_band(ax, sizes, [found] * len(sizes), **look)
            else:
                ax.plot(sizes[-1:], [found.value], "^", color=look["color"], fillstyle="none", clip_on=False)
            point = crossing(joint, study, level) if method == "MultiStart" else None
            if point and np.isfinite(found.upper) and point.value == point.upper:
                ends = np.clip(point.interval, *sizes[[0, -1]])
                ax.plot(ends, [found.value] * 2, color="#222222", linewidth=2.5, solid_capstyle="butt")
    group_size_axis(ax, sizes)
    ax.set(yscale="log", ylabel="evaluations per problem")
    plain_ticks(ax.yaxis)


def plot_supervised_cost(ax, study: xr.Dataset) -> None:
    """Evaluations per problem of supervised training with BFGS from its answers, against n,
    where all runs solve enough.

    The study of generalization counts each simulated pair as one evaluation and lets BFGS run to its end, so
    that these are upper bounds.
    """
    refined = study.sel(solver="SupervisedRefined", drop=True)
    runs = [d for d in refined.solved.dims if d not in ("group_size", "problem")]
    for level in COST_LEVELS:
        reached = (refined.solved.mean("problem") >= level).all(runs)
        costs = refined.num_evaluations.mean(["problem", *runs]).where(reached)
        ax.plot(study.group_size, costs, **_style("SupervisedRefined", level))
    there = [int(n) for n in ax.get_xticks()]
    apart = [n for n in map(int, study.group_size.values) if all(max(n, m) >= 3 * min(n, m) for m in there)]
    group_size_ticks(ax, sorted(there + apart))  # names of further sizes, where they have room


def cost_legend(ax, panels) -> None:
    """Two short legends on otherwise empty axes, of what the panels show: colours and lines."""
    lines = [line for panel in panels for line in panel.lines if "%" in str(line.get_label())]
    shown = {line.get_label().rpartition(", ")[0]: line.get_color() for line in lines}
    fractions = {line.get_label().rpartition(", ")[2] for line in lines}
    names = [method.label for method in METHODS.values() if method.label in shown]
    colours = [Line2D([], [], color=shown[name], linewidth=3, label=name) for name in names]
    levels = [
        Line2D([], [], color="#444444", marker=marker, linestyle=line, label=f"{share} of the problems")
        for level, (marker, line) in COST_LEVELS.items()
        if (share := f"{100 * level:g} %") in fractions
    ]
    ax.set_axis_off()
    look = {"alignment": "left", "fontsize": 8, "handlelength": 2.8}
    look["title_fontproperties"] = {"size": 8, "weight": "bold"}
    first = ax.legend(handles=colours, title="Colour: the method", loc="upper left", **look)
    ax.legend(handles=levels, title="Line: solved until then", loc="lower left", **look)
    ax.add_artist(first)  # else the second one would take its place


def plot_time_per_problem(ax, measured: Mapping[str, Sequence[Mapping[str, Any]]], work: str) -> None:
    """Wall time per problem against N: colours are experiments, lines devices, bars reach from the fastest to
    the slowest run.

    Arguments:
        measured: name of a device -> rows of `jpo_book.measure.measure` or of a benchmark file.
        work: which kind of work is drawn.
    """
    _plot_measured(ax, measured, work, "seconds")
    ax.set_ylabel("wall time per problem (s)")


def plot_memory_per_problem(ax, measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Memory of the compiled evaluation per problem against N; arguments as for `plot_time_per_problem`."""
    _plot_measured(ax, measured, "evaluation", "bytes")
    ax.set_ylabel("memory per problem (bytes)")


def _plot_measured(ax, measured, work: str, quantity: str) -> None:
    sizes: set[int] = set()
    for number, (device, rows) in enumerate(measured.items()):
        look = {"linestyle": LINES[number % len(LINES)], "fillstyle": FILLS[number % len(FILLS)]}
        rows = sorted((r for r in rows if r["work"] == work and quantity in r), key=lambda r: r["n"])
        for problem, (label, _, _, colour, marker) in EXPERIMENTS.items():
            chosen = [r for r in rows if r["problem"] == problem]
            if not chosen:
                continue
            n, middle = [r["n"] for r in chosen], [r[quantity] for r in chosen]
            sizes.update(n)
            ax.plot(n, middle, color=colour, marker=marker, label=f"{label}, {device}", **look)
            if quantity == "seconds":
                ends = ([r[end] for r in chosen] for end in ("low", "high"))
                ax.vlines(n, *ends, color=colour, linewidth=1, alpha=0.6)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ticks = sorted(sizes)
    ticks = ticks[:: max(1, -(-len(ticks) // 6))]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.tick_params(axis="x", which="minor", bottom=False)
    if not sizes:
        text = "not measured: there is no benchmark file"
        ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=8)
    ax.set_xlabel("problems N (dimensionless)")
