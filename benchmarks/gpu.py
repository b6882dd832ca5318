"""Everything on an accelerator, one table: `python -m benchmarks.gpu [--quick]`,
after `make env ACCELERATOR=cuda13`.

First the achieved arithmetic and memory traffic against the limits of the card, then one study of the paper
preset, then time and memory against the number of problems, then the cases beside other software, as many as
fit into the minutes given.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness, scaling
from benchmarks.cases import CASES
from jpo_book.names import EXPERIMENTS

RESULTS = Path(__file__).resolve().parent / "results"
# Limits by the makers' data sheets: float32 arithmetic outside tensor cores (FLOP/s), and memory (bytes/s).
LIMITS = {
    "H200": (67e12, 4.8e12),
    "H100": (67e12, 3.35e12),
    "A100": (19.5e12, 2.0e12),
    "V100": (15.7e12, 0.9e12),
    "L40S": (91.6e12, 0.86e12),
    "L4": (30.3e12, 0.3e12),
    "T4": (8.1e12, 0.32e12),
    "RTX 4090": (82.6e12, 1.01e12),
}
SIZES = {"wave_packet": 65536, "billiards": 65536, "kuramoto_sivashinsky": 4096, "navier_stokes": 1024}
STUDY = "wave_packet"  # of the paper preset


def limits(kind: str) -> tuple[float, float] | None:
    """FLOP/s and bytes/s of a device by its name; None when it is not in the list."""
    return next((value for name, value in LIMITS.items() if name.lower() in kind.lower()), None)


def loop_steps(problem) -> int | None:
    """How often the loop of a simulation runs; None where loops are nested.
    XLA's cost analysis counts each loop once."""
    settings = problem.settings
    if problem.name == "billiards":
        return None
    return round(settings["horizon"] / settings["dt"]) if "dt" in settings else 1


def achieved(problem_name: str, num_problems: int) -> dict[str, Any]:
    """One evaluation of a batch: seconds, and FLOP and bytes by XLA's cost analysis,
    with the limits of the device.

    Loops are counted once by XLA and multiplied here by their number of steps, with what stands outside of
    them: the counts are upper estimates, by a few parts in a hundred for the simulators at hand.
    """
    import jax

    import jpo_lib as jpo
    from jpo_book import measure
    from jpo_lib.solvers.evaluation import Program, evaluation

    problem = jpo.PROBLEMS[problem_name]()
    row = measure.measure(problem, "evaluation", num_problems)
    data = problem.sample_dataset(num_problems, 990)
    with problem.precision():
        # The whole batch, also on a CPU.
        program: Any = Program.compiled(evaluation(problem), data.x0, data.context, data.y)[0]
    cost = program.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    steps, seconds = loop_steps(problem), row["seconds"] * num_problems
    counted = (
        None
        if steps is None or "flops" not in cost
        else (cost["flops"] * steps / seconds, cost.get("bytes accessed", 0.0) * steps / seconds)
    )
    return {
        **row,
        "device": jax.devices()[0].device_kind,
        "batch_seconds": seconds,
        "flops_per_second": counted and counted[0],
        "bytes_per_second": counted and counted[1],
    }


def study_of_paper_preset(quick: bool) -> tuple[str, float]:
    """Compute the cells of one data seed of the study, fresh. Returns how it is called and the seconds."""
    from jpo_book import studies

    profile = "smoke" if quick else "paper"
    cells = [cell for cell in studies.plan(STUDY, profile) if cell.data_seed == 0]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for cell in cells:
            studies.run_cell(cell, Path(folder))
    return f"{STUDY}, profile {profile}, one data seed, {len(cells)} cells", time.perf_counter() - begin


def in_own_process(what: str, *arguments: Any) -> Any:
    """Call a function of this module in a process of its own,
    which frees the memory of the card when it ends."""
    given = json.dumps(json.dumps(arguments))
    code = f"import json; from benchmarks import gpu; print(json.dumps(gpu.{what}(*json.loads({given}))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=harness.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise harness.SideFailed((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(measured: list[dict[str, Any]], rows: list[dict[str, Any]], study_line: str) -> str:
    """Everything as plain text."""
    lines = [
        f"{'one evaluation of a batch':<40} {'N':>6} {'s':>10} {'FLOP/s':>10} {'of limit':>9} "
        f"{'bytes/s':>10} {'of limit':>9}"
    ]
    for row in measured:
        bounds = limits(row["device"])
        texts = []
        for value, bound in zip((row["flops_per_second"], row["bytes_per_second"]), bounds or (None, None)):
            texts += [
                "-" if value is None else f"{value:.2e}",
                "-" if value is None or bound is None else f"{100 * value / bound:.1f} %",
            ]
        lines.append(
            f"{EXPERIMENTS[row['problem']].title:<40} {row['n']:>6} {row['batch_seconds']:>10.2e} "
            f"{texts[0]:>10} {texts[1]:>9} {texts[2]:>10} {texts[3]:>9}"
        )
    lines += ["", study_line, "", f"{'work':<75} {'here, s':>10} {'there, s':>10} {'ratio':>8}  beside"]
    for row in rows:
        here = "-" if row["ours"]["seconds"] is None else f"{row['ours']['seconds']:.2e}"
        there = f"{row['peer']['seconds']:.2e}" if row["peer"] else "-"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3g}"
        lines.append(
            f"{row['title'][:75]:<75} {here:>10} {there:>10} {ratio:>8}  {row['beside'] or row['note']}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a short version, also for a CPU: shows that everything runs"
    )
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="cases that do not fit are left out and named"
    )
    parser.add_argument("--machine", help="name of the result file; by default that of the card")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result file")
    given = parser.parse_args(arguments)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes share the card
    begin = time.monotonic()

    def left() -> float:
        return 60 * given.minutes - (time.monotonic() - begin)

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begin:6.0f} s] {text}", file=sys.stderr, flush=True)

    sizes = {name: 64 if name != "navier_stokes" else 8 for name in SIZES} if given.quick else SIZES
    measured = []
    for name, number in sizes.items():
        measured.append(in_own_process("achieved", name, number))
        say(f"evaluation of {number} x {name}: {measured[-1]['batch_seconds']:.2e} s")
    what, seconds = in_own_process("study_of_paper_preset", given.quick)
    study_line = f"study: {what}: {seconds:.1f} s with compilation"
    say(study_line)
    scaled = scaling.run(True, say) if not given.quick and left() > 120 else []
    rows = scaling.summaries(scaled, harness.empty_row) if scaled else []
    for case in CASES:
        if given.quick and case.name != "kuramoto_sivashinsky":
            continue
        if left() < 45 and not given.quick:
            rows.append(harness.empty_row(case.name, case.title, note="left out: no time"))
            continue
        try:
            rows += harness.run_case(case, quick=given.quick, turns=3, seconds=6.0, say=say, together=True)
        except harness.SideFailed as failure:
            rows.append(harness.empty_row(case.name, case.title, note=f"It did not run here: {failure}"))
    described = harness.machine(given.machine)
    print(f"{described['device']}, JAX {harness.versions()['jax']}\n\n" + table(measured, rows, study_line))
    rows = [
        row for row in rows if row["ours"]["seconds"] is not None
    ]  # what there was no time for is no result
    return harness.write(
        given.output / f"{described['name']}.json",
        rows,
        [*scaled, *measured],
        quick=given.quick,
        described=described,
    )


if __name__ == "__main__":
    main()
