"""Changes of code that cannot change numbers, shown and not asserted: old and new code compute shortened
cells, bit for bit.

Reference results come from other machines and take hours, so they are no measure. Here the code of an earlier
commit, for which they are valid, and the code as it is now compute the same small cells on the same machine.
Where all bits agree, the manifests of the results get the new hash, and say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from jpo_book.studies.agreement import equal_bits
from jpo_book.studies.cell import FORMAT, Cell, source_hash
from jpo_book.studies.manifest import write_manifest
from jpo_book.studies.netcdf import read_netcdf
from jpo_lib.problems import PROBLEMS
from jpo_lib.solvers import JointOptimization, complete

NUM_PROBLEMS, NUM_STEPS, BATCH = 8, 5, 4
SHOWN = (
    f"Cells of {NUM_PROBLEMS} problems and {NUM_STEPS} training steps, computed by the code before and "
    "after: equal bit for bit."
)
# Run in the folder of some code: its hash of each cell, then the cells. It asks little of that code.
COMPUTE = """
import json, sys
from pathlib import Path
from jpo_book.studies.cell import Cell, source_hash
from jpo_book.studies.netcdf import write_netcdf
cells = {name: Cell.model_validate(cell) for name, cell in json.load(sys.stdin).items()}
print(json.dumps({name: source_hash(cell.problem, cell.kind) for name, cell in cells.items()}), flush=True)
for name, cell in cells.items():
    write_netcdf(cell.run()[0], Path(sys.argv[1], name))
    print(name, flush=True)
"""


def shortened(cell: Cell) -> Cell:
    """The same work on eight problems in five steps: as many groups, minibatches or further problems, where
    there are some."""
    size, options = cell.group_size, json.loads(json.dumps(cell.options))
    options.pop("compact", None)  # all arrays are compared
    if "grid" in options:
        options = _few_steps({**options, "grid": options["grid"][:1], "num_data_seeds": 1})
    changes = {"study": "shortened", "variant": "", "data_seed": 0, "num_problems": NUM_PROBLEMS}
    if size is not None and "grid" not in options:
        given = JointOptimization(batch_size=options.get("batch_size"))
        batch = complete(PROBLEMS[cell.problem](**cell.settings), given).batch_size
        options["num_steps"] = NUM_STEPS
        if batch and batch < size:
            options["batch_size"] = min(BATCH, batch)
        if "num_steps" in options.get("supervised", {}):
            options["supervised"]["num_steps"] = NUM_STEPS
    if size is not None:
        groups = 1 if size == 1 else NUM_PROBLEMS // 2 if size < cell.num_problems else NUM_PROBLEMS
        changes["group_size"] = 2 * NUM_PROBLEMS if size > cell.num_problems else groups
        changes["network_seeds"] = cell.network_seeds[:2]
    return cell.model_copy(update={**changes, "options": options})


def _few_steps(options: Any) -> Any:
    """Plain data of a method in which all trainings are short."""
    if isinstance(options, list):
        return [_few_steps(value) for value in options]
    if not isinstance(options, dict):
        return options
    short = {"num_steps": NUM_STEPS, "batch_size": BATCH}
    return {name: short.get(name, _few_steps(value)) for name, value in options.items()}


def stale(folder: Path) -> Iterator[tuple[Path, dict[str, Any], Cell]]:
    """(path of the manifest, manifest, cell) of all results that were computed by other code than today's."""
    for path in sorted(folder.rglob("*.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
            cell = Cell.model_validate(manifest["cell"])
            if manifest["source_hash"] != source_hash(cell.problem, cell.kind):
                yield path, manifest, cell


def compute(
    cells: dict[str, Cell], code: Path, folder: Path, report: Callable[[str], None]
) -> dict[str, str]:
    """Compute cells into files of their names by the code in a folder. Returns that code's hash of each.

    Raises:
        RuntimeError: with what it said, if it fails.
    """
    with tempfile.TemporaryFile("w+") as asked, tempfile.TemporaryFile("w+") as complaints:
        json.dump({name: cell.model_dump(mode="json") for name, cell in cells.items()}, asked)
        asked.seek(0)
        settings = {**os.environ, "PYTHONPATH": str(code), "JPO_PROGRESS": "0"}
        command = [sys.executable, "-c", COMPUTE, str(folder)]
        with subprocess.Popen(
            command, cwd=code, env=settings, stdin=asked, stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as process:
            lines = []
            for line in process.stdout or ():
                lines.append(line)
                report(line.strip())
        if process.returncode:
            complaints.seek(0)
            said = complaints.read().strip()[-2000:]
            raise RuntimeError(f"{code}: the cells could not be computed: {said}")
    return json.loads(lines[0])


def restamp(
    folder: Path, root: Path, commit: str, why: str, report: Callable[[str], None]
) -> dict[str, list[str]]:
    """Restamp the stale results of a folder whose problem and kind compute equal bits with the code of a
    commit and of now.

    Arguments:
        folder: of result files, each with its manifest.
        root: the clone.
        commit: the code that the results are valid for; each manifest's hash must be that of this commit.
        why: a sentence for the manifests.
        report: is told what happens.
    Returns:
        {problem and kind: what differs}; an empty list where the results were restamped.
    Raises:
        RuntimeError: if the code of either cannot compute the cells.
    """
    found = list(stale(folder))
    texts = dict.fromkeys(shortened(cell).model_dump_json() for _, _, cell in found)
    cells = {f"{number}.nc": Cell.model_validate_json(text) for number, text in enumerate(texts)}
    report(f"{len(found)} results are stale; {len(cells)} shortened cells tell whether numbers have changed")
    differences: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        before, places = Path(scratch, "code"), [Path(scratch, name) for name in ("before", "now")]
        git = ["git", "-C", str(root), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(before), commit], check=True)
        try:
            for place in places:
                place.mkdir()
            reports = [lambda line, when=when: report(f"{when:<7}{line[:40]}") for when in ("before", "now")]
            with ThreadPoolExecutor() as pool:  # each waits for a process of its own
                old, new = pool.map(compute, [cells] * 2, (before, root), places, reports)
        finally:
            subprocess.run([*git, "remove", "--force", str(before)], check=True)
        hashes: dict[str, tuple[str, str]] = {}
        for name, cell in cells.items():
            pair = f"{cell.problem}, {cell.kind}"
            found_here = equal_bits(*(read_netcdf(place / name) for place in places))
            differences.setdefault(pair, []).extend(found_here)
            hashes[pair] = old[name], new[name]
    for path, manifest, cell in found:
        pair = f"{cell.problem}, {cell.kind}"
        if manifest["source_hash"] != hashes[pair][0]:
            differences[pair].append(f"{path.name} was stale at {commit} already")
        elif not differences[pair]:
            entry = {"date": date.today().isoformat(), "from": {"source_hash": manifest["source_hash"]}}
            entry |= {"why": why, "shown": SHOWN}
            manifest |= {"source_hash": hashes[pair][1], "restamped": [*manifest.get("restamped", []), entry]}
            write_manifest(path, manifest)
    return differences
