"""Panels on run time: time and memory per problem against the number of problems, by device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jpo_book.names import EXPERIMENTS

LINES, FILLS = ("-", "--", ":", "-."), ("full", "none", "left", "right")  # one device after the other


def plot_time_per_problem(ax, measured: Mapping[str, Sequence[Mapping[str, Any]]], work: str) -> None:
    """Wall time per problem against N: colours are experiments, lines are devices, bars reach from the fastest to the slowest run.

    Arguments:
        measured: name of a device -> rows of `jpo_book.measure.measure` or of a benchmark file.
        work: which kind of work is drawn.
    """
    _plot(ax, measured, work, "seconds")
    ax.set_ylabel("wall time per problem (s)")


def plot_memory_per_problem(ax, measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Memory of the compiled evaluation per problem against N; arguments as for `plot_time_per_problem`."""
    _plot(ax, measured, "evaluation", "bytes")
    ax.set_ylabel("memory per problem (bytes)")


def _plot(ax, measured, work: str, quantity: str) -> None:
    sizes: set[int] = set()
    for number, (device, rows) in enumerate(measured.items()):
        line, fill = LINES[number % len(LINES)], FILLS[number % len(FILLS)]
        for problem, (label, _, _, colour, marker) in EXPERIMENTS.items():
            chosen = sorted(
                (r for r in rows if r["work"] == work and r["problem"] == problem and quantity in r),
                key=lambda r: r["n"],
            )
            if not chosen:
                continue
            n, middle = [r["n"] for r in chosen], [r[quantity] for r in chosen]
            sizes.update(n)
            ax.plot(
                n,
                middle,
                color=colour,
                marker=marker,
                fillstyle=fill,
                linestyle=line,
                label=f"{label}, {device}",
            )
            if quantity == "seconds":
                ax.vlines(
                    n,
                    [r["low"] for r in chosen],
                    [r["high"] for r in chosen],
                    color=colour,
                    linewidth=1,
                    alpha=0.6,
                )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ticks = sorted(sizes)
    ticks = ticks[:: max(1, -(-len(ticks) // 6))]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.tick_params(axis="x", which="minor", bottom=False)
    if not sizes:
        ax.text(
            0.5,
            0.5,
            "not measured: there is no benchmark file",
            transform=ax.transAxes,
            ha="center",
            va="center",
            fontsize=8,
        )
    ax.set_xlabel("problems N (dimensionless)")
