"""Changes of code that cannot change numbers, shown and not asserted: old and new code compute shortened cells, bit for bit.

Reference results come from other machines and take hours, so they are no measure. Here the code of an earlier commit, for which they
are valid, and the code as it is now compute the same small cells on the same machine. Where all bits agree, the manifests of the results
get the new hash, and say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from jpo_book.files import write_atomically
from jpo_book.studies.agreement import equal_bits
from jpo_book.studies.cell import FORMAT, Cell, source_hash
from jpo_book.studies.netcdf import read_netcdf
from jpo_lib.problems import PROBLEMS
from jpo_lib.solvers import JointOptimization, complete

NUM_PROBLEMS, NUM_STEPS, BATCH = 8, 5, 4

# Computes cells with the code of the folder that it runs in. It asks little of that code: `Cell.run`, and a place for files.
COMPUTE = """
import json, sys
from pathlib import Path
from jpo_book.studies.cell import Cell
from jpo_book.studies.netcdf import write_netcdf
for line in sys.stdin:
    name, cell = json.loads(line)
    write_netcdf(Cell.model_validate(cell).run()[0], Path(sys.argv[1], name))
    print(name, flush=True)
"""


def shortened(cell: Cell) -> Cell:
    """The same work on eight problems in five training steps: as many groups, minibatches or further problems, where there are some."""
    size, options = cell.group_size, json.loads(json.dumps(cell.options))
    changes: dict[str, Any] = {
        "study": "shortened",
        "variant": "",
        "data_seed": 0,
        "num_problems": NUM_PROBLEMS,
    }
    if size is not None:
        solver = complete(
            PROBLEMS[cell.problem](**cell.settings), JointOptimization(batch_size=options.get("batch_size"))
        )
        options["num_steps"] = NUM_STEPS
        options.update(
            {"batch_size": min(BATCH, solver.batch_size)}
            if solver.batch_size and solver.batch_size < size
            else {}
        )
        group = 1 if size == 1 else NUM_PROBLEMS // 2 if size < cell.num_problems else NUM_PROBLEMS
        group = 2 * NUM_PROBLEMS if size > cell.num_problems else group
        options.pop("compact", None)  # all arrays are compared
        for part in (options, options.get("supervised", {})):
            part.update({name: NUM_STEPS for name in ("num_steps",) if name in part})
        changes |= {"group_size": group, "network_seeds": cell.network_seeds[:2]}
    return cell.model_copy(update={**changes, "options": options})


def stale(folder: Path) -> Iterator[tuple[Path, dict[str, Any], Cell]]:
    """(path of the manifest, manifest, cell) of all results that were computed by other code than today's."""
    for path in sorted(folder.rglob("*.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
            cell = Cell.model_validate(manifest["cell"])
            if manifest["source_hash"] != source_hash(cell.problem, cell.kind):
                yield path, manifest, cell


def compute(cells: dict[str, Cell], code: Path, folder: Path, report: Callable[[str], None]) -> None:
    """Compute cells by the code in a folder. Raises RuntimeError with what it said, if it fails."""
    lines = "".join(json.dumps([name, cell.model_dump(mode="json")]) + "\n" for name, cell in cells.items())
    process = subprocess.Popen(
        [sys.executable, "-c", COMPUTE, str(folder)],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code), "JPO_PROGRESS": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(lines)
    process.stdin.close()
    for name in process.stdout:
        report(name.strip())
    if process.wait():
        raise RuntimeError(
            f"{code}: the cells could not be computed: {process.stderr.read().strip()[-2000:]}"
        )


def restamp(
    folder: Path, root: Path, commit: str, why: str, report: Callable[[str], None] = print
) -> dict[str, list[str]]:
    """Restamp the stale results of a folder whose problem and kind compute equal bits with the code of a commit and with that of now.

    Arguments:
        folder: of result files, each with its manifest.
        root: the clone.
        commit: the code that the results are valid for; each manifest's old hash must be that of this commit.
        why: a sentence for the manifests.
        report: is told what happens.
    Returns:
        {problem and kind: what differs}; an empty list where the results were restamped.
    Raises:
        RuntimeError: if the code of either cannot compute the cells.
    """
    found = list(stale(folder))
    short = {
        f"{number}.nc": cell for number, cell in enumerate(unique(shortened(cell) for _, _, cell in found))
    }
    report(
        f"{len(found)} results are stale; {len(short)} shortened cells tell whether their numbers have changed"
    )
    with tempfile.TemporaryDirectory() as scratch:
        before, places = Path(scratch, "code"), [Path(scratch, name) for name in ("before", "now")]
        subprocess.run(
            ["git", "-C", str(root), "worktree", "add", "--detach", "--quiet", str(before), commit],
            check=True,
        )
        try:
            for code, place in zip((before, root), places, strict=True):
                place.mkdir()
                compute(
                    short,
                    code,
                    place,
                    lambda name, place=place: report(
                        f"{place.name} {short[name].problem} {short[name].kind}"
                    ),
                )
            hashes = hashes_of(before, {(cell.problem, cell.kind) for _, _, cell in found})
        finally:
            subprocess.run(["git", "-C", str(root), "worktree", "remove", "--force", str(before)], check=True)
        differences: dict[str, list[str]] = {}
        for name, cell in short.items():
            parts = equal_bits(*(read_netcdf(place / name) for place in places))
            differences.setdefault(f"{cell.problem}, {cell.kind}", []).extend(parts)
    for path, manifest, cell in found:
        pair = f"{cell.problem}, {cell.kind}"
        if manifest["source_hash"] != hashes[cell.problem, cell.kind]:
            differences[pair] = [*differences[pair], f"{path.name} was stale at {commit} already"]
        elif not differences[pair]:
            entry = {
                "date": date.today().isoformat(),
                "from": {"source_hash": manifest["source_hash"]},
                "why": why,
                "shown": SHOWN,
            }
            manifest |= {
                "source_hash": source_hash(cell.problem, cell.kind),
                "restamped": [*manifest.get("restamped", []), entry],
            }
            text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
            write_atomically(path, lambda target, text=text: target.write_text(text, encoding="utf-8"))
    return differences


SHOWN = f"Cells of {NUM_PROBLEMS} problems and {NUM_STEPS} training steps, computed by the code before and after: equal bit for bit."

HASHES = """
import json, sys
from jpo_book.studies.cell import source_hash
print(json.dumps([[*pair, source_hash(*pair)] for pair in json.loads(sys.argv[1])]))
"""


def hashes_of(code: Path, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """{(problem, kind): source hash} by the code in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", HASHES, json.dumps(sorted(pairs))],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
        check=True,
        capture_output=True,
        text=True,
    )
    return {(problem, kind): text for problem, kind, text in json.loads(done.stdout)}


def unique(cells: Iterable[Cell]) -> list[Cell]:
    """Cells without those that were there before."""
    return list({cell.model_dump_json(): cell for cell in cells}.values())
