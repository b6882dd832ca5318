"""The plan of studies as the workflow reads it (workflow/Snakefile): cells, their state, which of them one process computes,
and what a job asks a cluster for."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jpo_book.pages.benchmarks import read_benchmarks
from jpo_book.pages.cost_estimate import SIZES, UNKNOWN, all_rates, family, family_of, training_of
from jpo_book.studies.cell import Cell, source_hash
from jpo_book.studies.store import check

TIME_FACTOR, UNKNOWN_MINUTES = 2.0, 120  # so many times the estimate
BASE_MEMORY_MB, MEMORY_FACTOR = (
    3000,
    1.5,
)  # a process with JAX while it compiles; arrays that live at the same time
DEFAULT_BYTES = 10_000  # of one evaluation, where no benchmark says it


def batch(cell: Cell, profile: str) -> str:
    """Name of the batch of a cell. One process computes a batch, one cell after the other, and compiles shared programs once.

    Where the work itself is long, the cells of a batch differ only in their data. Where it is short, a new process, and
    programs compiled anew in it, cost more than they win: then a batch is everything about a problem, or in between
    either its chapter's own study or all others, so that the last of few batches does not keep one processor busy alone.
    """
    if profile == "paper":
        return json.dumps(cell.model_dump(mode="json", exclude={"data_seed"}), sort_keys=True)
    return (
        cell.problem
        if profile == "smoke" or cell.study == cell.problem
        else f"{cell.problem}, further studies"
    )


def workflow_plan(
    cells: Sequence[Cell], profile: str, folder: Path, with_requests: bool
) -> list[dict[str, Any]]:
    """What the workflow needs to know of each cell.

    Arguments:
        cells: from `studies.plan`.
        profile: name of their profile.
        folder: of the study files.
        with_requests: also estimate the time and memory that a job asks a cluster for.
    """
    asked = requests(cells) if with_requests else {}
    states = {cell.name: check(cell, folder) for cell in cells}
    return [
        {
            "name": cell.name,
            "study": cell.study,
            "problem": cell.problem,
            "state": states[cell.name],
            "source": source_hash(cell.problem, cell.kind),
            "batch": batch(cell, profile),
            # The dearest go first, so that none is left alone at the end. To build the problems takes seconds, so only for what has to be computed.
            **(
                {"simulation_size": SIZES[cell.problem](family(cell)[0])}
                if states[cell.name] != "valid"
                else {}
            ),
            **({"requests": asked[cell.name]} if with_requests else {}),
        }
        for cell in cells
    ]


def requests(cells: Sequence[Cell]) -> dict[str, dict[str, int]]:
    """{name: {"minutes", "memory_mb"}}: time and memory that a job for each cell asks a cluster for.

    Minutes are twice the estimate on the slowest hardware that is known, or two hours where nothing is. Of times on processors
    all is counted as if one processor had done it: how much of its work a job can share between several is not known. Memory is that
    of a process with JAX, and half as much again as the arrays of one evaluation of all problems that are worked on at once.
    """
    rates = list(all_rates(cores=1).values())
    bytes_per_size = _bytes_per_size()
    asked = {}
    for cell in cells:
        estimates = [e.seconds for e in (rate.estimate(cell) for rate in rates) if e.basis != UNKNOWN]
        minutes = TIME_FACTOR * max(estimates) / 60 if estimates else UNKNOWN_MINUTES
        size = SIZES[cell.problem](family(cell)[0])
        arrays = _problems_at_once(cell) * max(DEFAULT_BYTES, bytes_per_size.get(cell.problem, 0.0) * size)
        asked[cell.name] = {
            "minutes": math.ceil(minutes),
            "memory_mb": BASE_MEMORY_MB + math.ceil(MEMORY_FACTOR * arrays / 1e6),
        }
    return asked


def _problems_at_once(cell: Cell) -> int:
    """Problems in one batch: all of them, or the batches of all networks, which an accelerator trains side by side."""
    if cell.group_size is None:
        return cell.num_problems
    groups = max(1, cell.num_problems // cell.group_size)
    return max(1, len(cell.network_seeds)) * max(
        cell.num_problems, groups * training_of(cell, family(cell)[1])[1]
    )


def _bytes_per_size() -> dict[str, float]:
    """{problem: bytes of one evaluation per size of its simulation}, the largest that a benchmark has found."""
    found: dict[str, float] = {}
    for row in (row for benchmark in read_benchmarks() for row in benchmark["scaling"] if "bytes" in row):
        size = SIZES[row["problem"]](family_of(row["problem"], "{}")[0])
        found[row["problem"]] = max(found.get(row["problem"], 0.0), row["bytes"] / size)
    return found
