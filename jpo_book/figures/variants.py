"""Panels of studies that change one thing at a time, and of answers to unseen problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jpo_book.analysis.ablations import OPTIMIZERS
from jpo_book.analysis.resample import rate
from jpo_book.figures.panels import REFERENCE, by_size, curve, group_size_axis, plain_ticks, style

OPTIMIZER_STYLES = {"adam": ("#0072B2", "o"), "rmsprop": ("#E69F00", "^"), "sgd": ("#CC79A7", "s")}
_JPO, _SUPERVISED = {"color": "#0072B2", "marker": "o"}, {"color": "#D55E00", "marker": "s"}
_KNOWN = {"linestyle": "-"}
_UNSEEN = {"linestyle": "--", "markerfacecolor": "white"}  # hollow markers
# Answers of networks and what becomes of them.
ANSWERS: dict[str, dict[str, Any]] = {
    "JointLast": {"label": "JPO, known problems", **_JPO, **_KNOWN},
    "JointUnseen": {"label": "JPO, unseen problems", **_JPO, **_UNSEEN},
    "SupervisedTraining": {"label": "supervised, its own pairs", **_SUPERVISED, **_KNOWN},
    "SupervisedUnseen": {"label": "supervised, unseen problems", **_SUPERVISED, **_UNSEEN},
    "BFGSUnseen": {"label": "one run of BFGS", "color": "#000000", "linestyle": "-."},
    "MultiStartUnseen": {"label": style("MultiStart")["label"], "color": "#009E73", "linestyle": ":"},
}
ANSWERS |= {f"{name}Refined": ANSWERS[name] for name in ("JointUnseen", "SupervisedUnseen")}
ANSWERS["JointRefined"] = ANSWERS["JointLast"]


def plot_variants(ax, rows: Sequence[tuple[str, xr.Dataset]]) -> None:
    """Solved rates of variants, a row for each: means with 95 % intervals, a dot for each seed, and a count.

    Arguments:
        ax: the axes.
        rows: label and results of each variant: solved (data_seed, solver, network_seed, problem). Those of
            the untrained network, of JPO and of JPO refined are shown; the count is that of the last.
    """
    dots = {"linestyle": "none", "marker": ".", "markersize": 3, "alpha": 0.4}
    beside = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 6.5}
    beside["annotation_clip"] = False  # it stands beside the panel
    for k, (_, study) in enumerate(rows):
        for shift, method in ((-0.24, "NetworkStart"), (0.0, "Joint"), (0.24, "JointRefined")):
            look = style(method) | {"linestyle": "none"} | ({} if k == 0 else {"label": None})
            color, height = look["color"], k + shift
            solved = study.solved.sel(solver=method)
            found = rate(solved)
            seeds = solved.mean("problem").values.ravel()
            ax.plot(seeds, np.full(seeds.size, height), color=color, **dots)
            ax.plot(found.interval, [height] * 2, color=color, linewidth=1.0)
            ax.plot(found.value, height, **look)
            if method == "JointRefined":
                ax.annotate(f"{int(solved.sum())}/{solved.size}", (1.02, k), color=color, **beside)
    ax.set_yticks(range(len(rows)), [label for label, _ in rows])
    ax.set(xlim=(-0.03, 1.03), ylim=(len(rows) - 0.5, -0.5), xlabel="fraction of problems solved")
    ax.grid(axis="y", visible=False)


def plot_rates(ax, points: Mapping[str, Sequence[tuple[float, xr.Dataset]]], default: float) -> None:
    """Solved rates against the learning rate, for each optimizer:
    raw answers (broken line) and refined ones (full line).

    Arguments:
        ax: the axes.
        points: learning rates and results for each optimizer, in the order of the rates.
        default: learning rate of the default, marked by a dotted line.
    """
    for optimizer, values in points.items():
        label, (color, marker) = OPTIMIZERS[optimizer], OPTIMIZER_STYLES[optimizer]
        rates, studies = zip(*values, strict=True)
        look: dict[str, Any] = {"color": color, "marker": marker}
        refined, raw = ("JointRefined", "-", color, "refined"), ("Joint", "--", "white", "raw")
        for method, line, fill, what in (refined, raw):
            solved = [study.solved.sel(solver=method).mean("problem").values for study in studies]
            look |= {"linestyle": line, "markerfacecolor": fill, "label": f"{label}, {what}"}
            curve(ax, rates, solved, **look)
    ax.axvline(default, **REFERENCE)
    ax.set(xscale="log", xlabel="learning rate at the start (dimensionless)")
    ax.set(ylabel="fraction of problems solved", ylim=(-0.03, 1.03))
    _count(ax, {study.solved.sel(solver="Joint").size for values in points.values() for _, study in values})


def _count(ax, totals: set[int]) -> None:
    """Say below the panel how many answers a point stands for; above it the title needs the place."""
    ax.set_xlabel(f"{ax.get_xlabel()}\n{' or '.join(map(str, sorted(totals)))} answers each")


def _curves(ax, study: xr.Dataset, methods: Sequence[str], measure) -> None:
    for method in methods:
        curve(ax, study.group_size, by_size(measure(method)), **ANSWERS[method])
    group_size_axis(ax, study.group_size.values, "training problems or pairs, n")


def plot_answer_errors(ax, study: xr.Dataset) -> None:
    """How far raw answers are from being solutions: median of loss / solved threshold, against n; range over
    seeds as a band."""

    def error(method):
        threshold = study.threshold_unseen if "Unseen" in method else study.threshold
        return (study.loss.sel(solver=method, drop=True) / threshold).median("problem")

    _curves(ax, study, ("JointLast", "JointUnseen", "SupervisedTraining", "SupervisedUnseen"), error)
    ax.axhline(1.0, **REFERENCE)
    ax.set(yscale="log", ylabel="median loss of the raw answer\n/ solved threshold (dimensionless)")
    plain_ticks(ax.yaxis)


def plot_answers_solved(ax, study: xr.Dataset, methods: Sequence[str], levels: Sequence[str] = ()) -> None:
    """Fraction of problems solved against n, with the range over seeds as a band;
    `levels` do not depend on n."""

    def rate(method):
        return study.solved.sel(solver=method, drop=True).mean("problem")

    _curves(ax, study, methods, rate)
    for method in levels:
        ax.plot(study.group_size, [float(rate(method).mean())] * study.sizes["group_size"], **ANSWERS[method])
    _count(ax, {study.sizes["problem"] * study.sizes["data_seed"] * study.sizes["network_seed"]})
    ax.set(ylabel="fraction of problems solved", ylim=(-0.03, 1.03))
