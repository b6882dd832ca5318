"""The files that benchmarks write, one for each machine: read, and shown in the book."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jpo_book.files import root_folder
from jpo_book.names import EXPERIMENTS
from jpo_book.pages.tables import markdown_table
from jpo_book.words import duration

BENCHMARK_FORMAT = "jpo-benchmark-1"


def read_benchmarks(folder: Path | None = None) -> list[dict[str, Any]]:
    """The files that `make bench` has written, one for each machine, in the order of their names.

    Arguments:
        folder: where they are; benchmarks/results of the clone when None.
    Raises:
        ValueError: if a file there is not one of a benchmark.
    """
    if folder is None:
        folder = root_folder() / "benchmarks" / "results"
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        content = path.read_bytes()
        try:
            benchmark = json.loads(content)
            known = benchmark["format"] == BENCHMARK_FORMAT
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise ValueError(
                f"{path.name}: expected a benchmark in the format {BENCHMARK_FORMAT}, got something else; run make bench again."
            )
        found.append(benchmark)
        if os.environ.get("JPO_RESULTS_LOG"):
            with open(os.environ["JPO_RESULTS_LOG"], "a", encoding="utf-8") as log:
                log.write(
                    json.dumps(
                        {
                            "path": f"benchmarks/results/{path.name}",
                            "sha256": hashlib.sha256(content).hexdigest(),
                        }
                    )
                    + "\n"
                )
    return found


def of_processors(benchmark: Mapping[str, Any]) -> bool:
    """Whether a benchmark was measured on processors, and not on an accelerator."""
    return benchmark["machine"]["device"].endswith("CPU")


def largest_evaluations(benchmark: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """{problem: the row that times one evaluation, for the largest batch}."""
    return {
        row["problem"]: row
        for row in sorted(benchmark["scaling"], key=lambda row: row["n"])
        if row["work"] == "evaluation"
    }


BENCHMARK_HEADER = [
    "work",
    "ratio",
    "target reached",
    "this library",
    "beside it",
]  # what matters most stays on a narrow screen


def benchmark_rows(benchmark: Mapping[str, Any]) -> list[list[str]]:
    """The rows of a benchmark file under BENCHMARK_HEADER: time and accuracy of both sides, and how many times faster this library is."""
    rows = []
    for row in benchmark["rows"]:
        reached = {True: "yes", False: "**no**", None: ""}[row["reached"]]
        processor_ratio = (
            "" if row["processor_ratio"] is None else f"; of processor times {row['processor_ratio']:.3g}"
        )
        rows.append(
            [
                row["title"],
                ratio_text(row) + processor_ratio,
                ", ".join(part for part in (target_text(row["target"]), reached) if part),
                _side_text(row["ours"]),
                f"{row['beside']}: {_side_text(row['peer'])}" if row["peer"] else row["beside"],
            ]
        )
    return rows


def _side_text(side: Mapping[str, Any]) -> str:
    """Time and accuracy of one side of a row."""
    return "; ".join(
        part
        for part in (
            "" if side["seconds"] is None else duration(side["seconds"]),
            side.get("accuracy_text", ""),
        )
        if part
    )


def benchmark_tables(benchmarks: Sequence[Mapping[str, Any]], *, label: str):
    """One numbered table for each benchmark file, with what is to be said about single rows below, and why the targets that are
    missed are missed; shown as Markdown in a notebook."""
    from IPython.display import Markdown

    parts: list[str] = []
    for number, benchmark in enumerate(benchmark for benchmark in benchmarks if benchmark["rows"]):
        name = label if number == 0 else f"{label}-{number + 1}"
        parts.append(
            markdown_table(
                BENCHMARK_HEADER, benchmark_rows(benchmark), label=name, caption=_caption(benchmark)
            ).data
        )
        parts += [f"- *{row_name(row)}:* {row['note']}" for row in benchmark["rows"] if row["note"]]
        missed = [row for row in benchmark["rows"] if row["reached"] is False]
        findings = {
            (found["name"], found["beside"]): f"{found['text']} (Measured {found['measured'][:10]}.)"
            for found in benchmark["findings"]
        }
        if missed:
            parts.append(f"**Why {len(missed)} targets are missed on {benchmark['machine']['name']}.**")
            unknown = "The reason has not been measured."
            parts += [
                f"- *{row_name(row)}:* {findings.get((row['name'], row['beside']), unknown)}"
                for row in missed
            ]
    return Markdown("\n\n".join(parts) or "There is no file of a benchmark yet: `make bench` writes one.")


def accelerator_sentences(benchmarks: Sequence[Mapping[str, Any]]):
    """One evaluation per problem on each accelerator, beside the first processor that has a benchmark; shown as Markdown in a notebook.

    Times are those of the largest batch that was measured, divided by its number of problems.

    Arguments:
        benchmarks: from `read_benchmarks`.
    """
    from IPython.display import Markdown

    on_processors = next(filter(of_processors, benchmarks), None)
    there = {} if on_processors is None else largest_evaluations(on_processors)
    parts = []
    for benchmark in (b for b in benchmarks if not of_processors(b)):
        here = largest_evaluations(benchmark)
        told = [
            f"{label} {duration(here[problem]['seconds'])} (N = {here[problem]['n']}"
            + (
                f", {float(format(there[problem]['seconds'] / here[problem]['seconds'], '.2g')):g} times as fast"
                if problem in there
                else ""
            )
            + ")"
            for problem, (label, *_) in EXPERIMENTS.items()
            if problem in here
        ]
        beside = f", in brackets beside {on_processors['machine']['name']}" if there else ""
        parts.append(
            f"- **{benchmark['machine']['name']}**, JAX {benchmark['versions']['jax']}: {'; '.join(told)}. Times are per problem{beside}."
        )
    return Markdown(
        "\n".join(parts) or "No accelerator has been measured yet: `python -m benchmarks.gpu` writes a file."
    )


def row_name(row: Mapping[str, Any]) -> str:
    """The work of a benchmark's row, with what it is compared with where there is something."""
    return f"{row['title']}, beside {row['beside']}" if row["beside"] else row["title"]


def _caption(benchmark: Mapping[str, Any]) -> str:
    machine = benchmark["machine"]
    amount = "a short version" if benchmark["quick"] else "the full version"
    versions = ", ".join(f"{name} {version}" for name, version in benchmark["versions"].items())
    load = "" if machine.get("load") is None else f", {machine['load']:g} programs at a time"
    return (
        f"Benchmarks on {machine['name']} ({machine['device']}, {machine['cores']} cores{load}), {amount}, {benchmark['created'][:10]}. "
        f"Times are medians. A ratio with a target ≥ is the time there divided by the time here, with ≤ the time here divided by that "
        f"there; in brackets the middle half of the single ratios. Processor times are the sum over all processors. {versions}"
    )


def ratio_text(row: Mapping[str, Any]) -> str:
    """The median ratio of a benchmark's row, with the middle half of its single ratios where there are several."""
    if row["ratio"] is None:
        return ""
    middle = "" if row["ratio_low"] is None else f" ({row['ratio_low']:.3g} to {row['ratio_high']:.3g})"
    return f"{row['ratio']:.3g}{middle}"


TARGETS = {
    "at_least": "≥ {:g}",
    "at_most": "≤ {:g}",
    "seconds_at_most": "≤ {:g} s",
    "new_programs": "{:g} new programs",
}


def target_text(target: Mapping[str, float] | None) -> str:
    """{"at_least": 3} -> "≥ 3", {"at_most": 1.5} -> "≤ 1.5", None -> ""."""
    return "" if target is None else "; ".join(TARGETS[kind].format(value) for kind, value in target.items())
