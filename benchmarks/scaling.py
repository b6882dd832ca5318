"""Time and memory against the number of problems, each kind of work in a process of its own."""

from __future__ import annotations

import json
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import harness

SIZES = {
    "wave_packet": {
        "evaluation": (256, 1024, 4096, 16384, 65536),
        "training": (256, 4096, 65536),
        "solution": (256, 4096),
    },
    "billiards": {
        "evaluation": (256, 1024, 4096, 16384, 65536),
        "training": (256, 4096, 65536),
        "solution": (256, 4096),
    },
    "kuramoto_sivashinsky": {"evaluation": (16, 64, 256, 1024), "training": (256,)},
    "navier_stokes": {"evaluation": (16, 64, 256), "training": (64,)},
}
QUICK = {
    "wave_packet": {"evaluation": (256, 4096, 65536), "training": (256,), "solution": (256,)},
    "billiards": {"evaluation": (256, 4096, 65536)},
    "kuramoto_sivashinsky": {"evaluation": (64, 256)},
    "navier_stokes": {"evaluation": (16, 64)},
}
FLAT = 1.25  # largest factor between the times per problem from 256 problems on


def measure_here(problem: str, work: str, sizes: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """Rows of `jpo_book.measure.measure`, with the growth of the peak memory of this process per problem.

    Evaluations of all sizes take turns, so that a processor that changes its pace changes it for all of them.
    """
    import jpo_lib as jpo
    from jpo_book import measure

    built = jpo.PROBLEMS[problem]()
    turns, repeats = (repeats, 1) if work == "evaluation" else (1, repeats)
    found: dict[int, list[dict[str, Any]]] = {n: [] for n in sizes}
    for _ in range(turns):
        for n in sizes:
            before = _peak()
            row = measure.measure(built, work, n, repeats=repeats)
            found[n].append({**row, "peak_bytes": _peak() - before})
    rows = []
    for parts in found.values():
        seconds = [part["seconds"] for part in parts]
        low, high = min(part["low"] for part in parts), max(part["high"] for part in parts)
        rows.append(
            {
                **parts[0],
                "seconds": statistics.median(seconds),
                "low": low,
                "high": high,
                "repeats": turns * repeats,
            }
        )
    return rows


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(quick: bool, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """All rows, for the part "scaling" of the result file."""
    rows = []
    for problem, works in (QUICK if quick else SIZES).items():
        for work, sizes in works.items():
            label = f"time per problem, {problem}, {work}"
            found = harness.answer_of(
                "benchmarks.scaling",
                problem,
                work,
                json.dumps(sizes),
                "3" if quick else "5",
                label=label,
                say=say,
            )
            if found is None:
                continue
            rows += found
            say(f"{label}: " + ", ".join(f"N = {r['n']}: {r['seconds'] * 1e6:.3g} µs" for r in found))
    return rows


def summaries(
    rows: Sequence[dict[str, Any]], empty_row: Callable[..., dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows on the cheap simulators: how far the time and the memory per problem are from constant."""
    result = []
    for problem in ("wave_packet", "billiards"):
        chosen = [r for r in rows if r["problem"] == problem and r["work"] == "evaluation" and r["n"] >= 256]
        if len(chosen) < 2:
            continue
        label = problem.replace("_", " ")
        last = chosen[-1]
        for what, key in (("time", "seconds"), ("memory", "bytes")):
            values = [r[key] for r in chosen if key in r]
            if not values:
                continue
            # Memory may grow with the number of problems, but no faster; for time, large batches must not be
            # dear and neither small ones.
            base, words = (
                (min(values), "smallest") if what == "time" else (values[0], f"that for N = {chosen[0]['n']}")
            )
            ratio = max(values) / base
            result.append(
                empty_row(
                    f"{what}_per_problem_{problem}",
                    f"{label}: {what} per problem of an evaluation, largest over {words}, for N = "
                    f"{chosen[0]['n']} to {last['n']}",
                    seconds=last["seconds"],
                    ratio=ratio,
                    target={"at_most": FLAT},
                    reached=ratio <= FLAT,
                    text=", ".join(
                        f"N = {r['n']}: {r[key] * (1e6 if key == 'seconds' else 1):.3g} "
                        f"{'µs' if key == 'seconds' else 'bytes'}"
                        for r in chosen
                    ),
                )
            )
    return result


if __name__ == "__main__":
    print(json.dumps(measure_here(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))))
