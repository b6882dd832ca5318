"""Run cases: start each side in a process of its own, let the sides take turns,
and make rows of medians and ratios."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import judge
from benchmarks.cases import Case
from jpo_book.files import cpu_model, write_atomically
from jpo_lib._processors import usable_cores

ROOT = Path(__file__).resolve().parent.parent
FORMAT = "jpo-benchmark-1"
PREPARATION = 400.0  # seconds that a side may take to get ready, and for one turn
PACKAGES = ("jax", "jaxlib", "exponax", "jax-cfd", "optimistix", "phiflow", "scipy", "numpy")


class SideFailed(RuntimeError):
    """A side could not be prepared or run; the message is the last line that it said."""


class Worker:
    """A process with one side of a case."""

    def __init__(self, side: str, arguments: dict[str, Any], folder: Path):
        self.outputs = folder / (re.sub(r"\W", "_", side) + ".npz")
        # Open as long as the process is.
        self.log = open(self.outputs.with_suffix(".log"), "w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", side, json.dumps(arguments), str(self.outputs)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            bufsize=1,
        )

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PREPARATION)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            late = "took too long" if not ready else ""
            self.close()
            self.log.seek(0)
            said = [text for text in self.log.read().strip().splitlines() if text.strip()]
            raise SideFailed(late or (said[-1].strip() if said else "it ended without a word"))
        return json.loads(line)

    def run(self) -> tuple[float, float | None]:
        """Wall time and processor time of one turn, seconds;
        the latter None where it cannot be told apart."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        answer = self.answer()
        return answer["seconds"], answer["processor"]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def run_case(
    case: Case,
    *,
    quick: bool = False,
    turns: int = 7,
    seconds: float = 40.0,
    together: bool = False,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Measure one case: a row for each peer, or one row without a peer.

    Arguments:
        case: the work.
        quick: the short version.
        turns: how often each side runs; fewer, but at least three, where `seconds` are over.
        seconds: for all turns of the case.
        together: prepare all sides at the same time. Times of compilation then say nothing.
    """
    arguments = {**case.arguments, **(case.quick if quick else {})}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, Worker] = {}
        facts: dict[str, dict[str, Any]] = {}
        wanted = [case.ours, *(p.side for p in case.peers), *([case.reference] if case.reference else [])]
        started = {side: Worker(side, arguments, Path(folder)) for side in wanted} if together else {}
        try:
            for side in wanted:
                worker = started.get(side) or Worker(
                    side, arguments, Path(folder)
                )  # one after the other: compilation is timed, too
                try:
                    facts[side] = worker.answer()
                except SideFailed as failure:
                    if side in (case.ours, case.reference):
                        raise
                    failures[side] = str(failure)
                    continue
                if side == case.reference:
                    worker.close()
                else:
                    sides[side] = worker
            times = take_turns({side: worker.run for side, worker in sides.items()}, turns, seconds, failures)
            outputs = {
                side: dict(np.load(Path(folder) / (re.sub(r"\W", "_", side) + ".npz"))) for side in facts
            }
        finally:
            for worker in [*sides.values(), *started.values()]:
                worker.close()
    reference = outputs.get(case.reference or "")
    described = {side: describe(facts[side], times[side], judge(outputs[side], reference)) for side in times}
    rows = []
    for peer in case.peers or (None,):
        row = {
            "name": case.name,
            "title": case.title,
            "beside": peer.name if peer else "",
            "ours": described[case.ours],
            "peer": described.get(peer.side) if peer else None,
            "arguments": arguments,
            "target": dict(peer.target) if peer and peer.target else None,
            "ratio": None,
            "ratio_low": None,
            "ratio_high": None,
            "processor_ratio": None,
            "reached": None,
            "note": peer.note if peer else "",
        }
        if peer and peer.side in failures:
            row["note"] = f"It did not run here: {failures[peer.side]}. {peer.note}".strip()
        elif peer:
            scale = facts[case.ours]["count"] / facts[peer.side]["count"]
            turns_of_both = list(zip(times[case.ours], times[peer.side]))
            compare(row, [scale * there / here for (here, _), (there, _) in turns_of_both])
            compare_processors(
                row, [scale * there / here for (_, here), (_, there) in turns_of_both if here and there]
            )
        rows.append(row)
        say(
            f"{case.title} | {row['beside']}: "
            + (
                f"ratio {row['ratio']:.3g}, of processor times {row['processor_ratio']}"
                if row["ratio"]
                else "no ratio"
            )
            + (
                ""
                if row["reached"] is None
                else ", target reached"
                if row["reached"]
                else ", target not reached"
            )
        )
    return rows


def empty_row(
    name: str,
    title: str,
    *,
    seconds: float | None = None,
    ratio: float | None = None,
    target=None,
    reached: bool | None = None,
    text: str = "",
    numbers=None,
    turns: int = 1,
    note: str = "",
) -> dict[str, Any]:
    """A row without another side."""
    ours = {"seconds": seconds, "turns": turns, "accuracy_text": text, "accuracy": dict(numbers or {})}
    return {
        "name": name,
        "title": title,
        "beside": "",
        "ours": ours,
        "peer": None,
        "arguments": {},
        "target": target,
        "ratio": ratio,
        "ratio_low": None,
        "ratio_high": None,
        "processor_ratio": None,
        "reached": reached,
        "note": note,
    }


def take_turns(
    sides: dict[str, Callable[[], Any]], turns: int, seconds: float, failures: dict[str, str]
) -> dict[str, list[Any]]:
    """What each side says, in turns: every side once, then every side again.
    A side that fails is left out and noted."""
    times: dict[str, list[Any]] = {side: [] for side in sides}
    begin = time.monotonic()
    for turn in range(turns):
        if turn >= 3 and time.monotonic() - begin > seconds:
            break
        for side, run in sides.items():
            if side in failures:
                continue
            try:
                times[side].append(run())
            except SideFailed as failure:
                failures[side] = str(failure)
    return {side: values for side, values in times.items() if side not in failures}


def describe(
    facts: dict[str, Any], turns: Sequence[tuple[float, float | None]], judged: tuple[str, dict[str, float]]
) -> dict[str, Any]:
    """What the result file says about one side; times are divided by its count."""
    text, numbers = judged
    times, processor = [wall for wall, _ in turns], [spent for _, spent in turns if spent]
    return {
        "seconds": statistics.median(times) / facts["count"],
        "low": min(times) / facts["count"],
        "high": max(times) / facts["count"],
        "processor_seconds": statistics.median(processor) / facts["count"] if processor else None,
        "turns": len(times),
        "count": facts["count"],
        "compile_seconds": round(facts["compile_seconds"], 3),
        "accuracy_text": "; ".join(part for part in (facts["text"], text) if part),
        "accuracy": {**facts["numbers"], **numbers},
    }


def compare(row: dict[str, Any], faster: Sequence[float]) -> None:
    """Enter the ratios of the single turns, time there / time here; the other way round where the target is
    an upper bound."""
    target = row["target"] or {"at_least": None}
    ((kind, bound),) = target.items()
    ratios = [1 / value for value in faster] if kind == "at_most" else list(faster)
    row["ratio"] = float(np.median(ratios))
    row["ratio_low"], row["ratio_high"] = (float(value) for value in np.percentile(ratios, [25, 75]))
    if bound is not None:
        row["reached"] = bool(row["ratio"] <= bound if kind == "at_most" else row["ratio"] >= bound)


def compare_processors(row: dict[str, Any], faster: Sequence[float]) -> None:
    """The same ratio of processor times. Other programs on the machine disturb it less; but two processors
    count as twice the time."""
    if faster:
        ratio = float(np.median(faster))
        row["processor_ratio"] = 1 / ratio if row["target"] and "at_most" in row["target"] else ratio


def answer_of(module: str, *arguments: str, label: str, say: Callable[[str], None]) -> Any:
    """What `python -m module arguments` prints as JSON in its last line, from a process of its own; None
    where it failed, which is said."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        say(f"{label}: failed: {done.stderr.strip().splitlines()[-1:]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


# --- the file -----------------------------------------------------------------------------------------------


def machine(name: str | None = None) -> dict[str, Any]:
    """Neutral description of this machine: model of the processor or accelerator and number of cores, never
    the host's name.

    "load" is the number of programs that wanted to run, on average over the last five minutes;
    this one is among them.
    """
    import jax

    device, cores = jax.devices()[0], usable_cores()
    cpu = cpu_model()
    on_cpu = jax.default_backend() == "cpu"
    model = cpu if on_cpu else device.device_kind
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") + (f"-{cores}-cores" if on_cpu else "")
    return {
        "name": name or slug,
        "cpu": cpu,
        "cores": cores,
        "device": f"{model}, {jax.default_backend().upper()}",
        "load": round(os.getloadavg()[1], 1) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def write(
    path: Path, rows: Sequence[dict], scaling: Sequence[dict], *, quick: bool, described: dict[str, Any]
) -> Path:
    """Write the result file atomically: all of it or nothing. What was found out about single rows stays,
    with its date."""
    findings = json.loads(path.read_text(encoding="utf-8")).get("findings", []) if path.exists() else []
    content = {
        "format": FORMAT,
        "machine": described,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "versions": versions(),
        "rows": list(rows),
        "scaling": list(scaling),
        "findings": findings,
    }
    write_json(path, content)
    return path


def write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text)
