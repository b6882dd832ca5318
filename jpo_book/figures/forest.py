"""JPO against its opponents as a forest plot, a row for each experiment and opponent."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from jpo_book.analysis.rules import MARGIN
from jpo_book.figures.layout import SteadyLayout
from jpo_book.figures.panels import REFERENCE
from jpo_book.names import EXPERIMENTS

ROW = 0.31  # inches
ENDS = {"difference": (-1.05, 1.05), "ratio": (0.01, 300.0)}  # of the axes
Opponents = Mapping[str, Mapping[str, Mapping[str, Any]]]


def forest(alternatives: Opponents) -> Figure:
    """The difference in solved share for the same price, and the ratio of prices for as many solutions, with
    95 % intervals. Right of the lines at 0 and 1 JPO is better; the band holds what is no advantage.

    Arguments:
        alternatives: {kind of opponent: {title of an experiment: how JPO does}}, from
            `jpo_book.analysis.claims.against_opponents`.
    """
    lines = [line for kind, rows in alternatives.items() for line in ((kind, None), *rows.items())]
    figure = Figure(figsize=(5.2, ROW * len(lines) + 0.6), layout=SteadyLayout())
    shares, prices = axes = figure.subplots(1, 2, sharey=True)
    shares.axvspan(-MARGIN, MARGIN, color="#d5d5d5", linewidth=0)
    shares.axvline(0, **REFERENCE)
    prices.axvline(1, **REFERENCE)
    kind, labels, beside = "", {}, {"va": "center", "annotation_clip": False}
    for place, (title, found) in enumerate(lines):
        if found is None:
            kind, where = title, ("figure fraction", "data")
            look = {"weight": "bold", "in_layout": False, **beside}
            prices.annotate(f"against {kind}", (0.01, place), None, where, **look)
            continue
        name, said = found.get("name", kind), found.get("verdict", found["words"])
        labels[place] = title if name == kind else f"{title}:\n{name}"
        prices.annotate(said, (1.04, place), None, ("axes fraction", "data"), fontsize=8, **beside)
        for ax, (part, ends) in zip(axes, ENDS.items(), strict=True):
            if part in found:
                _interval(ax, place, found[part], ends, title)
    shares.set_yticks([*labels], [*labels.values()])
    shares.set(ylim=(len(lines) - 0.4, -0.6), xlabel="difference in\nsolved share")
    shares.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−½", "0", "½", "1"])
    prices.set(xscale="log", xlabel="price of the other\n/ price of JPO")
    prices.minorticks_off()
    prices.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    for ax, ends in zip(axes, ENDS.values(), strict=True):
        ax.set_xlim(ends)
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    return figure


def _interval(ax, place: int, found, ends: tuple[float, float], title: str) -> None:
    """A value with its interval; an arrow where it goes on beyond the end of the axis."""
    colour, marker = next((one.colour, one.marker) for one in EXPERIMENTS.values() if one.title == title)
    value, low, high = (np.inf if end == "infinite" else end for end in found)
    ax.plot(np.clip([low, high], *ends), [place] * 2, color=colour, linewidth=1.6)
    ax.plot(value, place, color=colour, marker=marker, markersize=5)
    if high > ends[1]:
        ax.plot(ends[1], place, ">", color=colour, markersize=4, clip_on=False)


def forest_svg(alternatives: Opponents) -> str:
    """The forest plot as SVG, equal in equal runs."""
    file = io.StringIO()
    with mpl.rc_context(fname=str(Path(__file__).with_name("book.mplstyle"))):
        forest(alternatives).savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
