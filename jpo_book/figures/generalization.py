"""Panels of answers to unseen problems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from jpo_book.figures.ablations import _count
from jpo_book.figures.results import group_size_axis, plain_ticks
from jpo_book.names import METHODS

# Answers of networks and what becomes of them: name, colour, marker, line. Filled markers are known problems, hollow ones unseen.
ANSWERS = {
    "JointLast": ("JPO, known problems", "#0072B2", "o", "-"),
    "JointUnseen": ("JPO, unseen problems", "#0072B2", "o", "--"),
    "SupervisedTraining": ("supervised, its own pairs", "#D55E00", "s", "-"),
    "SupervisedUnseen": ("supervised, unseen problems", "#D55E00", "s", "--"),
    "JointRefined": ("JPO, known problems", "#0072B2", "o", "-"),
    "JointUnseenRefined": ("JPO, unseen problems", "#0072B2", "o", "--"),
    "SupervisedUnseenRefined": ("supervised, unseen problems", "#D55E00", "s", "--"),
    "BFGSUnseen": ("one run of BFGS", "#000000", None, "-."),
    "MultiStartUnseen": (METHODS["MultiStart"].label, "#009E73", None, ":"),
}


def _curves(ax, study: xr.Dataset, methods: Sequence[str], measure) -> None:
    sizes = study.group_size.values
    for method in methods:
        label, color, marker, line = ANSWERS[method]
        values = measure(method).transpose("group_size", ...).values.reshape(len(sizes), -1)
        ax.fill_between(sizes, values.min(axis=1), values.max(axis=1), color=color, alpha=0.12, linewidth=0)
        ax.plot(
            sizes,
            values.mean(axis=1),
            color=color,
            marker=marker,
            linestyle=line,
            label=label,
            markerfacecolor="white" if line == "--" else color,
        )
    group_size_axis(ax, sizes)
    ax.set_xlabel("training problems or pairs, n")


def plot_answer_errors(
    ax,
    study: xr.Dataset,
    methods: Sequence[str] = ("JointLast", "JointUnseen", "SupervisedTraining", "SupervisedUnseen"),
) -> None:
    """How far the raw answers are from being solutions: median of loss / solved threshold, against n; range over seeds as a band."""

    def error(method):
        threshold = study.threshold_unseen if "Unseen" in method else study.threshold
        return (study.loss.sel(solver=method, drop=True) / threshold).median("problem")

    _curves(ax, study, methods, error)
    ax.axhline(1.0, color="#777777", linewidth=0.8, linestyle=":")
    ax.set(yscale="log", ylabel="median loss of the raw answer\n/ solved threshold (dimensionless)")
    plain_ticks(ax.yaxis)


def plot_answers_solved(ax, study: xr.Dataset, methods: Sequence[str], levels: Sequence[str] = ()) -> None:
    """Fraction of problems solved against n, with the range over seeds as a band; `levels` do not depend on n."""

    def rate(method):
        return study.solved.sel(solver=method, drop=True).mean("problem")

    _curves(ax, study, methods, rate)
    sizes = study.group_size.values
    for method in levels:
        label, color, _, line = ANSWERS[method]
        values = rate(method).values
        ax.plot(sizes, np.full(len(sizes), values.mean()), color=color, linestyle=line, label=label)
    _count(ax, {study.sizes["problem"] * study.sizes["data_seed"] * study.sizes["network_seed"]})
    ax.set(ylabel="fraction of problems solved", ylim=(-0.03, 1.03))
