"""Time: measured here, and read from the manifests of studies.

Times differ from run to run and from machine to machine. They are therefore kept apart from the results of studies, which
are equal bit for bit whenever they are computed again.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jpo_lib import study
from jpo_lib.plotting import METHODS
from jpo_lib.problem import InverseProblem, check_integer
from jpo_lib.reporting import markdown_table
from jpo_lib.solvers import BFGS, JointOptimization, solve
from jpo_lib.solvers.evaluation import block_size, evaluation
from jpo_lib.storage import root_folder, usable_cores

BATCH = 256  # problems per step when a network is trained on many
EPOCHS = 4
# What `measure` times, in words. Each is given per problem.
WORKS = {
    "evaluation": "one evaluation (loss and gradient)",
    "training": "one visit by the training of a network",
    "solution": "one solution by BFGS",
}


# --- measured here ----------------------------------------------------------------------------------------------------


def median_seconds(call: Callable[[], Any], repeats: int = 5, shortest: float = 0.02) -> dict[str, float]:
    """Wall time of a call in seconds: {"median", "low", "high", "repeats"}. The first call is not counted.

    Arguments:
        call: does the work; what it returns is waited for.
        repeats: number of measurements.
        shortest: each measurement repeats the call until it has lasted this long, seconds.
    """
    check_integer("repeats", repeats, 1)
    begin = time.perf_counter()
    jax.block_until_ready(call())
    inner = max(1, int(shortest / max(time.perf_counter() - begin, 1e-9)))
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(inner):
            result = call()
        jax.block_until_ready(result)
        seconds.append((time.perf_counter() - begin) / inner)
    return {"median": float(np.median(seconds)), "low": min(seconds), "high": max(seconds), "repeats": repeats}


def measure(problem: InverseProblem, work: str, num_problems: int, *, seed: int = 990, repeats: int = 5) -> dict[str, Any]:
    """How long one kind of work takes on N problems together, per problem, on this machine.

    "evaluation" is one call of the compiled loss and gradient; "training" four epochs of joint optimization of all N
    problems with minibatches of at most 256, with the evaluation of all of them at its end; "solution" is `BFGS()`
    from the starting points of the data. Compilation is not included.

    Arguments:
        problem: the family of problems.
        work: "evaluation", "training" or "solution".
        num_problems: N.
        seed: of the data.
        repeats: number of measurements.
    Returns:
        {"problem", "work", "n", "seconds", "low", "high", "repeats", "compile_seconds"}: seconds per problem (for
        training: per visit of a problem), and for "evaluation" also "bytes": memory of arguments, results and
        intermediate arrays per problem, as the compiler states it.
    Raises:
        ValueError: if the kind of work is unknown or a number is out of range.
    """
    if work not in WORKS:
        raise ValueError(f"work: expected one of {', '.join(WORKS)}, got {work!r}; choose one of them.")
    data = problem.sample_dataset(num_problems, seed)
    row: dict[str, Any] = {"problem": problem.name, "work": work, "n": num_problems}
    if work == "evaluation":
        arguments = data.x0, data.context, data.y
        with problem.precision():
            program, row["compile_seconds"] = evaluation(problem).compiled(*arguments)
            spent = median_seconds(lambda: program(*arguments), repeats)
            held = _bytes(problem, arguments)
        if held is not None:
            row["bytes"] = held / num_problems
        visits = 1
    else:
        solver = BFGS()
        if work == "training":
            batch = min(BATCH, num_problems)
            solver = JointOptimization(group_size=num_problems, batch_size=batch, num_steps=EPOCHS * num_problems // batch)
        results = [solve(problem, data, solver) for _ in range(repeats + 1)]
        row["compile_seconds"] = results[0].compile_seconds
        seconds = [result.run_seconds for result in results[1:]]
        spent = {"median": float(np.median(seconds)), "low": min(seconds), "high": max(seconds), "repeats": repeats}
        visits = EPOCHS if work == "training" else 1
    row |= {name: spent[key] / num_problems / visits for name, key in (("seconds", "median"), ("low", "low"), ("high", "high"))}
    return row | {"repeats": repeats}


def _bytes(problem: InverseProblem, arguments) -> float | None:
    """Memory of arguments, results and intermediate arrays of an evaluation, where the compiler states it. Each processor works on one block at a time."""
    count = len(arguments[0])
    size = block_size(problem, count)
    program, _ = evaluation(problem).compiled(*jax.tree.map(lambda leaf: leaf[:size], arguments))
    memory = program.memory_analysis()
    if memory is None:
        return None
    kept = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return kept * count / size + memory.temp_size_in_bytes * min(usable_cores(), -(-count // size))


def this_machine() -> str:
    """Device and number of cores, as the manifests of studies name them."""
    return f"{_device(jax.devices()[0].device_kind, jax.default_backend())}, {os.cpu_count()} cores"


def _device(kind: str, backend: str) -> str:
    return backend.upper() if kind.lower() == backend.lower() else f"{kind} ({backend.upper()})"


# --- manifests of studies ---------------------------------------------------------------------------------------------


def read_manifest(cell: study.Cell, folder: Path | None = None) -> dict[str, Any]:
    """The manifest of a cell that was computed, in the folder of studies or among the reference results.

    Raises:
        FileNotFoundError: if the cell has not been computed.
    """
    folders = [study.studies_folder() if folder is None else Path(folder), root_folder() / "results"]
    for place in folders:
        path = place / f"{cell.name}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"{cell.name}: expected the manifest of a computed study, got none; compute it with study.load_or_run.")


COST_HEADER = ["experiment", "method", "n", "problems", "evaluations per problem", "time per problem", "compilation", "hardware"]


def cost_rows(plans: Mapping[str, Sequence[study.Cell]], folder: Path | None = None) -> list[list[str]]:
    """What each method of some studies cost: evaluations and wall time per problem, compilation, hardware.

    Arguments:
        plans: name of an experiment -> cells of its study, from `jpo_lib.study.plan`; computed where they are missing.
        folder: of the study files.
    Returns:
        rows under COST_HEADER. Times of refined solutions include the training. Each is the mean over data sets and
        networks; compilation is the longest of the cells, since later ones use the programs of the first.
    """
    rows = []
    for name, cells in plans.items():
        loaded = study.load_or_run(cells, folder, quiet=True)
        for kind, size in dict.fromkeys((c.kind, c.group_size) for c in cells):
            group = [c for c in cells if (c.kind, c.group_size) == (kind, size)]
            manifests = [read_manifest(c, folder) for c in group]
            machines = "; ".join(dict.fromkeys(hardware(m) for m in manifests))
            for method in loaded[group[0].name].solver.values:
                used = np.mean([float(loaded[c.name].num_evaluations.sel(solver=method).mean()) for c in group])
                seconds = np.mean([seconds_per_problem(c, m["seconds"], method) for c, m in zip(group, manifests)])
                compiling = max(m["seconds"].get(f"{method}.compile", 0.0) for m in manifests)
                rows.append([name, METHODS[method][0], "" if size is None else str(size), str(group[0].num_problems), f"{used:.0f}",
                             duration(seconds), f"{compiling:.1f} s", machines])
    return rows


def cost_table(rows: Sequence[Sequence[str]], *, label: str, caption: str):
    """Rows of `cost_rows` as a numbered table. Hardware that all rows share stands in the caption; the download has it in each row."""
    machines = {row[-1] for row in rows}
    shown = (COST_HEADER, rows) if len(machines) > 1 else (COST_HEADER[:-1], [row[:-1] for row in rows])
    more = "" if len(machines) > 1 else f". All on: {machines.pop()}"
    return markdown_table(*shown, label=label, caption=caption + more, data=(COST_HEADER, rows))


def seconds_per_problem(cell: study.Cell, seconds: Mapping[str, float], method: str) -> float:
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


def hardware(manifest: Mapping[str, Any]) -> str:
    """Device and machine on which a study was computed, from its manifest."""
    kind, _, backend = manifest["device"].rstrip(")").partition(" (")
    return f"{_device(kind, backend)}, {manifest['machine']}"


def cores_of(hardware: str) -> int | None:
    """Number of processors in what `hardware` returns; None where an accelerator does the work."""
    found = re.fullmatch(r"CPU, .*, (\d+) cores", hardware)
    return int(found[1]) if found else None


def duration(seconds: float) -> str:
    """A time with three significant digits and a unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
