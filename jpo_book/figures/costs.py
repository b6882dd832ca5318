"""Panels on when joint optimization pays, costs against n, and on run time and memory of devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jpo_book.analysis.costs import cost, of_each_size, refined_method
from jpo_book.analysis.resample import Estimate
from jpo_book.figures.panels import band, group_size_axis, plain_ticks, select, style
from jpo_book.names import EXPERIMENTS

COST_LEVELS = (0.5, 0.9, 0.99)
OPPONENTS = ("MultiStart", "MultiStartAdam", "NetworkMultiStart", "NetworkStart")
LINES, FILLS = ("-", "--", ":", "-."), ("full", "none", "left", "right")  # one device after the other


def plot_estimates(ax, sizes: Sequence[int], found: Sequence[Estimate], **look) -> None:
    """Costs against n where they are known, with their intervals; one cost alone is a level line."""
    ends = np.array([(one.low, one.value, one.high) for one in found])
    ends[[one.upper != one.value or np.isinf(one.value) for one in found]] = np.nan
    low, middle, high = np.broadcast_to(ends, (len(sizes), 3)).T
    look["marker"] = look.get("marker") or ("o" if len(sizes) == 1 else None)  # a line of one point is none
    band(ax, sizes, low, middle, np.where(np.isinf(high), middle, high), **look)


def cost_axes(ax, sizes) -> None:
    """Labels and ticks of a panel with costs against n; call it at the end."""
    group_size_axis(ax, np.asarray(sizes))
    ax.set(yscale="log", ylabel="evaluations per problem")
    plain_ticks(ax.yaxis)
    ax.legend(fontsize=7)


def plot_costs(ax, classical: xr.Dataset, joint: xr.Dataset, share: float) -> None:
    """Evaluations per problem until a share of the problems is solved, against n: mean of the seeds, and a
    band for its 95 % interval.

    A point needs all seeds: the mean of those that succeed would flatter.
    """
    sizes, method = joint.group_size.values, refined_method(joint)
    own = [cost(one, share, trained) for one, trained in of_each_size(joint)]
    plot_estimates(ax, sizes, own, **style(method))
    # Of an untrained network the smallest group is taken: training does not enter.
    smallest = joint.isel(group_size=0, drop=True)
    for name in OPPONENTS:
        if name in classical.solver or name in joint.solver:
            found = cost(select(name, classical, smallest), share)
            plot_estimates(ax, sizes, [found], **style(name, marker=False))
    cost_axes(ax, sizes)


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
