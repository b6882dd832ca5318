"""Panels of studies that change one thing at a time, and of answers to unseen problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from jpo_book.names import METHODS
from jpo_lib.metrics import wilson_interval

OPTIMIZER_STYLES = {
    "adam": ("Adam", "#0072B2", "o"),
    "rmsprop": ("RMSprop", "#E69F00", "^"),
    "sgd": ("gradient descent", "#CC79A7", "s"),
}


def not_computed(figure, missing: Sequence[str]) -> None:
    """A line below the figure that names the experiments it lacks."""
    if missing:
        figure.supxlabel(
            f"Not computed with this profile: {', '.join(missing)}.", fontsize=8, color="#555555"
        )


def plot_variants(
    ax,
    rows: Sequence[tuple[str, xr.Dataset]],
    methods: Sequence[str] = ("NetworkStart", "Joint", "JointRefined"),
) -> None:
    """Solved rates of variants, a row for each: mean with its 95 % interval, a dot for each seed, and the count of the last method.

    Arguments:
        ax: the axes.
        rows: label and results of each variant: solved (data_seed, solver, network_seed, problem).
        methods: the solvers that are shown.
    """
    for k, (_, study) in enumerate(rows):
        for shift, method in zip(np.linspace(-0.24, 0.24, len(methods)), methods):
            label, color, marker, _ = METHODS[method]
            solved = study.solved.sel(solver=method)
            count, total = int(solved.sum()), solved.size
            low, high = wilson_interval(count, total)
            seeds = solved.mean("problem").values.ravel()
            ax.plot(
                seeds,
                np.full(seeds.size, k + shift),
                linestyle="none",
                marker=".",
                markersize=3,
                color=color,
                alpha=0.4,
            )
            ax.plot([low, high], [k + shift] * 2, color=color, linewidth=1.0)
            ax.plot(
                count / total,
                k + shift,
                linestyle="none",
                marker=marker,
                color=color,
                label=label if k == 0 else None,
            )
        ax.annotate(
            f"{count}/{total}",
            (1.02, k),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=6.5,
            color=color,
            annotation_clip=False,
        )
    ax.set_yticks(range(len(rows)), [label for label, _ in rows])
    ax.set(xlim=(-0.03, 1.03), ylim=(len(rows) - 0.5, -0.5), xlabel="fraction of problems solved")
    ax.grid(axis="y", visible=False)


def plot_rates(ax, points: Mapping[str, Sequence[tuple[float, xr.Dataset]]], default: float) -> None:
    """Solved rates against the learning rate, for each optimizer: raw answers (broken line) and refined ones (full line).

    Arguments:
        ax: the axes.
        points: learning rates and results for each optimizer, in the order of the rates.
        default: learning rate of the default, marked by a dotted line.
    """
    for optimizer, values in points.items():
        label, color, marker = OPTIMIZER_STYLES[optimizer]
        rates = [rate for rate, _ in values]
        for method, line, fill in (("JointRefined", "-", color), ("Joint", "--", "white")):
            solved = [study.solved.sel(solver=method).mean("problem").values.ravel() for _, study in values]
            ax.fill_between(
                rates,
                [s.min() for s in solved],
                [s.max() for s in solved],
                color=color,
                alpha=0.12,
                linewidth=0,
            )
            ax.plot(
                rates,
                [s.mean() for s in solved],
                color=color,
                marker=marker,
                linestyle=line,
                markerfacecolor=fill,
                label=f"{label}, {'refined' if fill == color else 'raw'}",
            )
    ax.axvline(default, color="#777777", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log",
        xlabel="learning rate at the start (dimensionless)",
        ylabel="fraction of problems solved",
        ylim=(-0.03, 1.03),
    )
    _count(ax, {study.solved.sel(solver="Joint").size for values in points.values() for _, study in values})


def _count(ax, totals: set[int]) -> None:
    """Say below the panel how many answers a point stands for; above it the title needs the place."""
    ax.set_xlabel(f"{ax.get_xlabel()}\n{' or '.join(map(str, sorted(totals)))} answers each")
