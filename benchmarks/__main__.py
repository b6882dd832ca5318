"""`python -m benchmarks`: run all cases and write benchmarks/results/<machine>.json.
`make bench` calls it."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import harness, scaling, startup
from benchmarks.cases import CASES

RESULTS = harness.ROOT / "benchmarks" / "results"
PARTS = [*(case.name for case in CASES), "scaling", "startup"]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description="Measure this library beside other software."
    )
    parser.add_argument("--quick", action="store_true", help="a short version: fewer problems and turns")
    parser.add_argument(
        "--machine", help="name of the result file; by default from the processor and its cores"
    )
    parser.add_argument("--only", nargs="*", metavar="PART", help=f"these parts only: {', '.join(PARTS)}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result file")
    given = parser.parse_args(arguments)
    for name in given.only or []:
        if name not in PARTS:
            near = difflib.get_close_matches(name, PARTS, n=1)
            parser.error(
                f"expected a part, got '{name}': " + (f"did you mean '{near[0]}'?" if near else "see --help.")
            )
    if given.machine and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", given.machine):
        parser.error(
            f"expected a name of small letters, digits and hyphens for the machine, got '{given.machine}'."
        )
    return given


class Unfinished:
    """The parts that a run which was interrupted has measured. They count as long as code, versions and
    length of the run are the same."""

    def __init__(self, path: Path, quick: bool):
        self.path = path
        sources = [*(harness.ROOT / "benchmarks").glob("*.py"), harness.ROOT / "jpo_book" / "measure.py"]
        sources = sorted([*sources, *(harness.ROOT / "jpo_lib").rglob("*.py")])
        code = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        self.identity = {"code": code, "versions": harness.versions(), "quick": quick}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.parts = kept["parts"] if kept["identity"] == self.identity else {}
        except (OSError, ValueError, KeyError, TypeError):
            self.parts = {}

    def part(self, name: str, measure: Callable[[], list], say: Callable[[str], None]) -> list:
        """The result of a part: kept from before, or measured now and kept."""
        if name in self.parts:
            say(f"{name}: measured before the interruption")
        else:
            self.parts[name] = measure()
            harness.write_json(self.path, {"identity": self.identity, "parts": self.parts})
        return self.parts[name]


def main(arguments: list[str] | None = None) -> Path:
    given = parse(arguments)
    skipped = {case.name for case in CASES if given.quick and not case.in_quick}
    chosen = given.only or [part for part in PARTS if part not in skipped]
    # Compile times are those of a machine that has not seen the program: no cache on disk.
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begin:6.0f} s] {text}", flush=True)

    def measure(case) -> list:
        try:
            return harness.run_case(
                case,
                quick=given.quick,
                turns=3 if given.quick else 21,
                seconds=8.0 if given.quick else 40.0,
                say=say,
            )
        except harness.SideFailed as failure:
            say(f"{case.title}: this library's own side failed: {failure}")
            return [harness.empty_row(case.name, case.title, note=f"It did not run here: {failure}")]

    described = harness.machine(given.machine)
    unfinished = Unfinished(
        harness.ROOT / ".cache" / "benchmarks" / f"{'-'.join([described['name'], *(given.only or [])])}.json",
        given.quick,
    )
    rows, scaled = [], []
    for case in CASES:
        if case.name in chosen:
            rows += unfinished.part(case.name, lambda case=case: measure(case), say)
    if "scaling" in chosen:
        scaled = unfinished.part("scaling", lambda: scaling.run(given.quick, say), say)
        rows += scaling.summaries(scaled, harness.empty_row)
    if "startup" in chosen:
        rows += unfinished.part("startup", lambda: startup.run(given.quick, harness.empty_row, say), say)
    described = harness.machine(given.machine)  # again: with the load of this run
    path = harness.write(
        given.output / f"{described['name']}.json", rows, scaled, quick=given.quick, described=described
    )
    unfinished.path.unlink(missing_ok=True)
    judged = [row for row in rows if row["reached"] is not None]
    say(f"{sum(row['reached'] for row in judged)} of {len(judged)} targets reached: {path}")
    return path


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
