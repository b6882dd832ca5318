"""`python -m benchmarks`: run all cases and write benchmarks/results/<machine>.json. `make bench` calls it."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import time
from pathlib import Path

from benchmarks import harness, scaling, startup
from benchmarks.cases import CASES

RESULTS = Path(__file__).resolve().parent / "results"
PARTS = [*(case.name for case in CASES), "scaling", "startup"]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure this library beside other software.")
    parser.add_argument("--quick", action="store_true", help="a short version: fewer problems and turns")
    parser.add_argument("--machine", help="name of the result file; by default from the processor and its cores")
    parser.add_argument("--only", nargs="*", metavar="PART", help=f"these parts only: {', '.join(PARTS)}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result file")
    given = parser.parse_args(arguments)
    for name in given.only or []:
        if name not in PARTS:
            near = difflib.get_close_matches(name, PARTS, n=1)
            parser.error(f"expected a part, got '{name}': " + (f"did you mean '{near[0]}'?" if near else "see --help."))
    if given.machine and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", given.machine):
        parser.error(f"expected a name of small letters, digits and hyphens for the machine, got '{given.machine}'.")
    return given


def main(arguments: list[str] | None = None) -> Path:
    given = parse(arguments)
    skipped = {case.name for case in CASES if given.quick and not case.in_quick}
    chosen = given.only or [part for part in PARTS if part not in skipped]
    # Compile times are those of a machine that has not seen the program: no cache on disk.
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begin:6.0f} s] {text}", flush=True)

    rows, scaled = [], []
    for case in CASES:
        if case.name in chosen:
            try:
                rows += harness.run_case(case, quick=given.quick, turns=3 if given.quick else 7, seconds=8.0 if given.quick else 40.0, say=say)
            except harness.SideFailed as failure:
                say(f"{case.title}: this library's own side failed: {failure}")
                rows.append(harness.empty_row(case.name, case.title, note=f"It did not run here: {failure}"))
    if "scaling" in chosen:
        scaled = scaling.run(given.quick, say)
        rows += scaling.summaries(scaled, harness.empty_row)
    if "startup" in chosen:
        rows += startup.run(given.quick, harness.empty_row, say)
    described = harness.machine(given.machine)
    path = harness.write(given.output / f"{described['name']}.json", rows, scaled, quick=given.quick, described=described)
    judged = [row for row in rows if row["reached"] is not None]
    say(f"{sum(row['reached'] for row in judged)} of {len(judged)} targets reached: {path}")
    return path


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
