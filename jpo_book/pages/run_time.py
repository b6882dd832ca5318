"""Time: measured here, and read from the manifests of studies.

Times differ from run to run and from machine to machine. They are therefore kept apart from the results of studies, which
are equal bit for bit whenever they are computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jpo_book import studies
from jpo_book.names import METHODS
from jpo_book.pages.tables import markdown_table
from jpo_book.studies.manifest import hardware, read_manifest
from jpo_book.words import duration

COST_HEADER = [
    "experiment",
    "method",
    "n",
    "problems",
    "evaluations per problem",
    "time per problem",
    "compilation",
    "hardware",
]


def cost_rows(plans: Mapping[str, Sequence[studies.Cell]], folder: Path | None = None) -> list[list[str]]:
    """What each method of some studies cost: evaluations and wall time per problem, compilation, hardware.

    Arguments:
        plans: name of an experiment -> cells of its study, from `jpo_book.studies.plan`; computed where they are missing.
        folder: of the study files.
    Returns:
        rows under COST_HEADER. Times of refined solutions include the training. Each is the mean over data sets and
        networks; compilation is the longest of the cells, since later ones use the programs of the first.
    """
    rows = []
    for name, cells in plans.items():
        loaded = studies.load_or_run(cells, folder, quiet=True)
        for kind, size in dict.fromkeys((c.kind, c.group_size) for c in cells):
            group = [c for c in cells if (c.kind, c.group_size) == (kind, size)]
            manifests = [read_manifest(c, folder) for c in group]
            machines = "; ".join(dict.fromkeys(hardware(m) for m in manifests))
            for method in loaded[group[0].name].solver.values:
                used = np.mean(
                    [float(loaded[c.name].num_evaluations.sel(solver=method).mean()) for c in group]
                )
                seconds = np.mean(
                    [seconds_per_problem(c, m["seconds"], method) for c, m in zip(group, manifests)]
                )
                compiling = max(m["seconds"].get(f"{method}.compile", 0.0) for m in manifests)
                rows.append(
                    [
                        name,
                        METHODS[method][0],
                        "" if size is None else str(size),
                        str(group[0].num_problems),
                        f"{used:.0f}",
                        duration(seconds),
                        f"{compiling:.1f} s",
                        machines,
                    ]
                )
    return rows


def cost_table(rows: Sequence[Sequence[str]], *, label: str, caption: str):
    """Rows of `cost_rows` as a numbered table. Hardware that all rows share stands in the caption; the download has it in each row."""
    machines = {row[-1] for row in rows}
    shown = (COST_HEADER, rows) if len(machines) > 1 else (COST_HEADER[:-1], [row[:-1] for row in rows])
    more = "" if len(machines) > 1 else f". All on: {machines.pop()}"
    return markdown_table(*shown, label=label, caption=caption + more, data=(COST_HEADER, rows))


def seconds_per_problem(cell: studies.Cell, seconds: Mapping[str, float], method: str) -> float:
    """Wall time of a method divided by the problems that it worked on, without compilation.

    Arguments:
        cell: what was computed.
        seconds: "<method>.run" of its manifest.
        method: name of the method; "JointRefined" and "JointRestarted" include the training "Joint".
    """
    runs = max(1, len(cell.network_seeds))
    own = seconds[f"{method}.run"] / (runs * cell.num_problems)
    trained = seconds.get("Joint.run", 0.0) / (runs * max(cell.num_problems, cell.group_size or 0))
    if method == "Joint":
        return trained
    return own + trained if method in ("JointRefined", "JointRestarted") else own
