"""Time as the manifests of studies tell it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jpo_book import studies
from jpo_book.analysis.rules import TABLES
from jpo_book.files import reference_folder
from jpo_book.names import METHODS
from jpo_book.pages.tables import markdown_table
from jpo_book.studies.manifest import hardware, read_manifest
from jpo_book.words import duration

COST_HEADER = TABLES["headers"]["run_time"]


def cost_rows(plans: Mapping[str, Sequence[studies.Cell]], folder: Path | None = None) -> list[list[str]]:
    """What each method of some studies cost: evaluations and wall time per problem, compilation, hardware.

    Arguments:
        plans: name of an experiment -> cells of its study, from `jpo_book.studies.plan`;
            computed where they are missing.
        folder: of the study files.
    Returns:
        rows under COST_HEADER. Times of refined solutions include the training. Each is the mean over data
        sets and networks; compilation is the longest of the cells,
        since later ones use the programs of the first.
    """
    rows = []
    for name, cells in plans.items():
        loaded = studies.load_or_run(cells, folder, quiet=True)
        for kind, size in dict.fromkeys((c.kind, c.group_size) for c in cells):
            group = [c for c in cells if (c.kind, c.group_size) == (kind, size)]
            manifests = [read_manifest(c, folder) for c in group]
            numbers = ["" if size is None else str(size), str(group[0].num_problems)]
            machines = "; ".join(dict.fromkeys(map(hardware, manifests)))
            for method in loaded[group[0].name].solver.values:
                counts = [loaded[c.name].num_evaluations.sel(solver=method).mean() for c in group]
                pairs = zip(group, manifests, strict=True)
                seconds = [seconds_per_problem(c, m["seconds"], method) for c, m in pairs]
                compiling = max(m["seconds"].get(f"{method}.compile", 0.0) for m in manifests)
                times = [f"{np.mean(counts):.0f}", duration(float(np.mean(seconds))), f"{compiling:.1f} s"]
                rows.append([name, METHODS[method].label, *numbers, *times, machines])
    return rows


def cost_table(rows: Sequence[Sequence[str]], *, label: str, caption: str):
    """Rows of `cost_rows` as a numbered table. Hardware that all rows share stands in the caption; the
    download has it in each row."""
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


def time_of_profile(profile: str = "paper") -> str:
    """How long the reference results of a profile took, as text:
    the sum of the seconds in their manifests."""
    cells = [cell for name in studies.STUDIES for cell in studies.plan(name, profile)]
    files = (reference_folder() / f"{cell.name}.json" for cell in cells)
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in files if path.is_file()]
    if not manifests:
        nothing = "has a reference result, so nothing is known of its time"
        return f"No cell of the profile `{profile}` {nothing}.\n"
    hours = [m["seconds"].get("processor", m["seconds"]["total"]) / 3600 for m in manifests]
    on_clock = sum("processor" not in m["seconds"] for m in manifests)
    machines = "; ".join(dict.fromkeys(map(hardware, manifests)))
    rest = f" For {on_clock} of them, which do not record it, the time on the clock counts instead."
    return (
        f"The profile `{profile}` has {len(cells)} cells, of which {len(manifests)} have a reference result. "
        f"These took {sum(hours):.1f} h of CPU time in all, and the longest {max(hours):.1f} h, "
        f"on {machines}.{rest if on_clock else ''}\n"
    )
