"""The estimate of what a profile will cost, as a fragment of the book (MyST text)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jpo_book import studies
from jpo_book.names import EXPERIMENTS
from jpo_book.pages import cost_estimate
from jpo_book.pages.cost_estimate import BENCHMARK, MEASURED, SCALED, UNKNOWN, Estimate, Rates
from jpo_lib.problems import PROBLEMS


def fragment(profile: str = "paper", rates: dict[str, Rates] | None = None) -> str:
    """What the studies of a profile will cost, as MyST text: one table for each kind of hardware.

    Arguments:
        profile: its name.
        rates: {hardware: Rates}; those of `all_rates` when None.
    """
    cells = cost_estimate.cells_of(profile)
    parts = [
        _hardware_table(name, profile, cells, rate)
        for name, rate in (cost_estimate.all_rates() if rates is None else rates).items()
    ]
    return (
        "\n\n".join(parts) + "\n"
        if parts
        else f"No study has been timed yet, so there is no estimate for the profile `{profile}`.\n"
    )


def _hardware_table(name: str, profile: str, cells: Sequence[studies.Cell], rates: Rates) -> str:
    estimates = [(cell, rates.estimate(cell)) for cell in cells]
    shared = "one cell after the other" if rates.at_once == 1 else f"up to {rates.at_once} cells at once"
    way = shared if rates.cores is None else "all processors busy"
    lines = [
        f"**On {name}**, profile `{profile}`, {way}:",
        "",
        "::::{list-table}",
        ":header-rows: 1",
        "",
        "* - Experiment",
        "  - Cells",
        "  - Time",
        "  - Longest cell",
        "  - Rests on",
    ]
    for problem in [*PROBLEMS, None]:
        group = [(cell, estimate) for cell, estimate in estimates if problem in (None, cell.problem)]
        known = [estimate.seconds for _, estimate in group if estimate.basis != UNKNOWN]
        lines += [
            f"* - {'all' if problem is None else EXPERIMENTS[problem].title}",
            f"  - {len(group)}",
            f"  - {_duration(sum(known)) if known else '–'}",
            f"  - {_duration(max(known)) if known else '–'}",
            f"  - {_basis(group, rates)}",
        ]
    return "\n".join([*lines, "::::", *_check(rates)])


def _check(rates: Rates) -> list[str]:
    """How well the same rule tells times that are known."""
    ratios = rates.check()
    if len(ratios) < 10:
        return []
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    return [
        "",
        f"As a check, each of {len(ratios)} timed cells was estimated from the other studies alone: estimate over time has the median "
        f"{middle:.2g}, and four cells in five lie between {low:.2g} and {high:.2g}.",
    ]


def _basis(group: Sequence[tuple[studies.Cell, Estimate]], rates: Rates) -> str:
    """In words: how many cells were computed, scaled, taken from a benchmark or left out."""
    count = {
        basis: [cell for cell, estimate in group if estimate.basis == basis]
        for basis in (MEASURED, SCALED, BENCHMARK, UNKNOWN)
    }
    timed = len(
        frozenset().union(
            *(rates.rates[group]["cells"] for group in {rates.group_of(c) for c in count[SCALED]})
        )
    )
    parts = [
        f"{len(count[MEASURED])} computed",
        f"{len(count[SCALED])} scaled from {timed} other cell{'s' * (timed != 1)}",
        f"{len(count[BENCHMARK])} from a benchmark of one evaluation",
        f"{len(count[UNKNOWN])} not estimated and left out",
    ]
    return "; ".join(text for text in parts if not text.startswith("0 "))


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{max(seconds / 60, 0.1):.1f} min"
