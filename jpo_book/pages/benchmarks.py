"""The files that benchmarks write, one for each machine: read, and shown in the book."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jpo_book.files import root_folder, sha256
from jpo_book.names import EXPERIMENTS
from jpo_book.pages.tables import markdown_table
from jpo_book.words import duration

BENCHMARK_FORMAT = "jpo-benchmark-1"
# What matters most stays on a narrow screen.
BENCHMARK_HEADER = ["work", "ratio", "target reached", "this library", "beside it"]
TARGETS = {"at_least": "≥ {:g}", "at_most": "≤ {:g}", "seconds_at_most": "≤ {:g} s"}
TARGETS["new_programs"] = "{:g} new programs"
READ = (  # how the numbers are read
    "Times are medians. A ratio with a target ≥ is the time there divided by the time here, with ≤ the time "
    "here divided by that there; in brackets the middle half of the single ratios. Processor times are the "
    "sum over all processors."
)
REACHED = {True: "yes", False: "**no**", None: ""}


def read_benchmarks(folder: Path | None = None) -> list[dict[str, Any]]:
    """The files that `make bench` has written, one for each machine, in the order of their names.

    Arguments:
        folder: where they are; benchmarks/results of the clone when None.
    Raises:
        ValueError: if a file there is not one of a benchmark.
    """
    found = []
    for path in sorted(Path(folder or root_folder() / "benchmarks" / "results").glob("*.json")):
        content = path.read_bytes()
        benchmark: Any = None
        with contextlib.suppress(ValueError):
            benchmark = json.loads(content)
        if not isinstance(benchmark, dict) or benchmark.get("format") != BENCHMARK_FORMAT:
            expected = f"a benchmark in the format {BENCHMARK_FORMAT}"
            raise ValueError(f"{path.name}: expected {expected}, got something else; run make bench again.")
        found.append(benchmark)
        if log := os.environ.get("JPO_RESULTS_LOG"):
            entry = {"path": f"benchmarks/results/{path.name}", "sha256": sha256(content)}
            with open(log, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
    return found


def on_cpu(benchmark: Mapping[str, Any]) -> bool:
    """Whether a benchmark was measured on a CPU, and not on an accelerator."""
    return benchmark["machine"]["device"].endswith("CPU")


def largest_evaluations(benchmark: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """{problem: the row that times one evaluation, for the largest batch}."""
    rows = (row for row in benchmark["scaling"] if row["work"] == "evaluation")
    return {row["problem"]: row for row in sorted(rows, key=lambda row: row["n"])}


def benchmark_rows(benchmark: Mapping[str, Any]) -> list[list[str]]:
    """The rows of a benchmark file under BENCHMARK_HEADER: how many times faster this library is, and time
    and accuracy of both sides."""
    rows = []
    for row in benchmark["rows"]:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
        if row["ratio"] is not None and row["ratio_low"] is not None:
            ratio += f" ({row['ratio_low']:.3g} to {row['ratio_high']:.3g})"
        if row["processor_ratio"] is not None:
            ratio += f"; of processor times {row['processor_ratio']:.3g}"
        target = "; ".join(TARGETS[kind].format(value) for kind, value in (row["target"] or {}).items())
        reached = ", ".join(filter(None, [target, REACHED[row["reached"]]]))
        beside = f"{row['beside']}: {_side(row['peer'])}" if row["peer"] else row["beside"]
        rows.append([row["title"], ratio, reached, _side(row["ours"]), beside])
    return rows


def _side(side: Mapping[str, Any]) -> str:
    """Time and accuracy of one side of a row."""
    seconds = None if side["seconds"] is None else duration(side["seconds"])
    return "; ".join(filter(None, [seconds, side.get("accuracy_text")]))


def benchmark_tables(benchmarks: Sequence[Mapping[str, Any]], *, label: str):
    """One numbered table for each benchmark file, with what is to be said about single rows below, and why
    the targets that are missed are missed; shown as Markdown in a notebook."""
    from IPython.display import Markdown

    parts: list[str] = []
    for number, benchmark in enumerate(benchmark for benchmark in benchmarks if benchmark["rows"]):
        name = label if number == 0 else f"{label}-{number + 1}"
        rows = benchmark_rows(benchmark)
        table = markdown_table(BENCHMARK_HEADER, rows, label=name, caption=_caption(benchmark))
        parts.append(str(table.data))
        parts += [f"- *{_name(row)}:* {row['note']}" for row in benchmark["rows"] if row["note"]]
        findings = {
            (found["name"], found["beside"]): f"{found['text']} (Measured {found['measured'][:10]}.)"
            for found in benchmark.get("findings", [])
        }
        missed = [row for row in benchmark["rows"] if row["reached"] is False]
        if missed:
            parts.append(f"**Why {len(missed)} targets are missed on {benchmark['machine']['name']}.**")
        for row in missed:
            why = findings.get((row["name"], row["beside"]), "The reason has not been measured.")
            parts.append(f"- *{_name(row)}:* {why}")
    return Markdown("\n\n".join(parts) or "There is no file of a benchmark yet: `make bench` writes one.")


def accelerator_sentences(benchmarks: Sequence[Mapping[str, Any]]):
    """One evaluation per problem on each accelerator, beside the first CPU that has a benchmark; shown as
    Markdown in a notebook.

    Times are those of the largest batch that was measured, divided by its number of problems.

    Arguments:
        benchmarks: from `read_benchmarks`.
    """
    from IPython.display import Markdown

    cpu = next(filter(on_cpu, benchmarks), None)
    there = largest_evaluations(cpu) if cpu else {}
    beside = f", in brackets beside {cpu['machine']['name']}" if cpu and there else ""
    parts = []
    for benchmark in (b for b in benchmarks if not on_cpu(b)):
        here = largest_evaluations(benchmark)
        times = []
        for problem, experiment in EXPERIMENTS.items():
            if problem in here:
                seconds, detail = here[problem]["seconds"], f"N = {here[problem]['n']}"
                if problem in there:
                    ratio = float(f"{there[problem]['seconds'] / seconds:.2g}")
                    detail += f", {ratio:g} times as fast"
                times.append(f"{experiment.title} {duration(seconds)} ({detail})")
        device = f"**{benchmark['machine']['name']}**, JAX {benchmark['versions']['jax']}"
        parts.append(f"- {device}: {'; '.join(times)}. Times are per problem{beside}.")
    nothing = "No accelerator has been measured yet: `python -m benchmarks.gpu` writes a file."
    return Markdown("\n".join(parts) or nothing)


def _name(row: Mapping[str, Any]) -> str:
    """The work of a benchmark's row, with what it is compared with where there is something."""
    return f"{row['title']}, beside {row['beside']}" if row["beside"] else row["title"]


def _caption(benchmark: Mapping[str, Any]) -> str:
    machine = benchmark["machine"]
    amount = "a short version" if benchmark["quick"] else "the full version"
    versions = ", ".join(f"{name} {version}" for name, version in benchmark["versions"].items())
    load = "" if machine.get("load") is None else f", {machine['load']:g} programs at a time"
    where = f"{machine['name']} ({machine['device']}, {machine['cores']} cores{load})"
    return f"Benchmarks on {where}, {amount}, {benchmark['created'][:10]}. {READ} {versions}"
