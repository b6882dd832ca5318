"""The plan of studies as the workflow reads it (workflow/Snakefile): cells, their state, which of them one
process computes, and what a job asks a cluster for."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jpo_book.studies.cell import Cell, source_hash
from jpo_book.studies.manifest import read_manifest
from jpo_book.studies.store import check
from jpo_lib.problems import PROBLEMS

TIME_FACTOR = 2  # so many times what the same cell took
MINUTES = 120  # where the cell has not been computed yet
# Requests, not measurements: the flow's largest studies hold the fields of many simulations at once.
MEMORY_MB = {"navier_stokes": 20_000}
USUAL_MEMORY_MB = 4_000  # of all other problems


def batch(cell: Cell, profile: str) -> str:
    """Name of the batch of a cell. One process computes a batch and compiles shared programs once.

    Where the work itself is long, the cells of a batch differ only in their data. Where it is short, a new
    process, and programs compiled anew in it, cost more than they win: then a batch is everything about a
    problem, or in between either its chapter's own study or all others, so that the last of few batches does
    not keep one core busy alone.
    """
    if profile == "paper":
        return json.dumps(cell.model_dump(mode="json", exclude={"data_seed"}), sort_keys=True)
    if profile == "smoke" or cell.study == cell.problem:
        return cell.problem
    return f"{cell.problem}, further studies"


def workflow_plan(cells: Sequence[Cell], profile: str, folder: Path) -> list[dict[str, Any]]:
    """What the workflow needs to know of each cell.

    Arguments:
        cells: from `studies.plan`.
        profile: name of their profile.
        folder: of the study files.
    """
    return [
        {
            "name": cell.name,
            "study": cell.study,
            "problem": cell.problem,
            "state": check(cell, folder),
            "source": source_hash(cell.problem, cell.kind),
            "batch": batch(cell, profile),
            # Problems are listed by the length of their simulations: the longest go first, so that none is
            # left alone at the end.
            "rank": list(PROBLEMS).index(cell.problem),
            "minutes": minutes(cell, folder),
            "memory_mb": MEMORY_MB.get(cell.problem, USUAL_MEMORY_MB),
        }
        for cell in cells
    ]


def minutes(cell: Cell, folder: Path) -> int:
    """Time that a job asks a cluster for: twice what the same cell took,
    as if one core had done all the work."""
    try:
        seconds = read_manifest(cell, folder)["seconds"]
    except (OSError, ValueError, KeyError):
        return MINUTES
    return math.ceil(TIME_FACTOR * max(seconds["total"], seconds.get("processor", 0.0)) / 60)
