"""The plan of studies as the workflow reads it (workflow/Snakefile): cells, their state, and which of them one process computes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jpo_lib import study
from jpo_lib.cost_estimate import requests


def batch(cell: study.Cell, profile: str) -> str:
    """Name of the batch of a cell. One process computes a batch, one cell after the other, and compiles shared programs once.

    Where the work itself is long, the cells of a batch differ only in their data. Where it is short, a new process, and
    programs compiled anew in it, cost more than they win: then a batch is everything about a problem.
    """
    return json.dumps(cell.model_dump(mode="json", exclude={"data_seed"}), sort_keys=True) if profile == "paper" else cell.problem


def workflow_plan(cells: Sequence[study.Cell], profile: str, folder: Path, with_requests: bool) -> list[dict[str, Any]]:
    """What the workflow needs to know of each cell.

    Arguments:
        cells: from `study.plan`.
        profile: name of their profile.
        folder: of the study files.
        with_requests: also estimate the time and memory that a job asks a cluster for.
    """
    asked = requests(cells) if with_requests else {}
    return [
        {
            "name": cell.name,
            "study": cell.study,
            "state": study.check(cell, folder),
            "source": study.source_hash(cell.problem, cell.kind),
            "batch": batch(cell, profile),
            **({"requests": asked[cell.name]} if with_requests else {}),
        }
        for cell in cells
    ]
