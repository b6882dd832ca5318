"""Runs of notebooks, each in a process of its own; every mistake is found before anything starts."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import re
import shutil
import tempfile
import time
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jpo_book.run.parameters import InputError, Job, RunError, check_parameters

NEEDED_SPACE = 50_000_000  # bytes; an executed notebook takes 1 to 10 MB


def check_output_folder(folder: Path) -> None:
    """Make the folder where it is missing; raises InputError when nothing can be written there or space is short."""
    advice = "choose another folder with --output."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(1_000_000))
            probe.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"Expected a folder that can be written to, got '{folder}' ({reason}): {advice}"
        ) from error
    if free < NEEDED_SPACE:
        raise InputError(
            f"Expected {NEEDED_SPACE // 10**6} MB of free space in '{folder}', got {free // 10**6} MB: "
            f"make space or {advice}"
        )


def run_notebooks(
    paths: Sequence[Path],
    given: Mapping[str, typing.Any],
    output_folder: Path,
    *,
    jobs: int = 1,
    timeout: float | None = None,
) -> Iterator[tuple[Path, float, str | None]]:
    """Check everything, then run the notebooks, each in a process of its own.

    paths: the notebooks, as `find_notebook` returns them.
    given: values for their parameters, as `check_parameters` takes them.
    output_folder: receives <stem>.ipynb; an old page of a notebook that fails is removed, so that none is out of date.
    jobs: how many run at the same time.
    timeout: seconds that one cell may take; None for no limit.

    Yields (notebook, seconds, None or the error's sentence) as they finish. Raises InputError before anything starts.
    """
    if jobs < 1:
        raise InputError(f"Expected at least 1 job, got {jobs}: use for example --jobs 2.")
    if timeout is not None and not timeout > 0:
        raise InputError(
            f"Expected a time-out above 0 seconds, got {timeout}: use for example --timeout 600."
        )
    twice = {path.stem for path in paths if [p.stem for p in paths].count(path.stem) > 1}
    if twice:
        raise InputError(f"Expected every notebook once, got {', '.join(sorted(twice))} twice: name it once.")
    work = [Job(p, check_parameters(p, given), output_folder / f"{p.stem}.ipynb", timeout) for p in paths]
    check_output_folder(output_folder)
    return _run(work, jobs)


def _compute_alone() -> None:
    """No second process for the studies of a notebook: other notebooks run beside it."""
    os.environ.setdefault("JPO_PROCESSES", "1")


def _run(work: list[Job], jobs: int) -> Iterator[tuple[Path, float, str | None]]:
    from jpo_book.run.execution import execute

    # A process for each notebook, not a thread: kernels, settings and failures stay apart.
    context = multiprocessing.get_context("spawn")
    first = None if jobs == 1 else _compute_alone
    with concurrent.futures.ProcessPoolExecutor(
        jobs, mp_context=context, max_tasks_per_child=1, initializer=first
    ) as pool:
        started = {pool.submit(execute, job): (job, time.monotonic()) for job in work}
        for future in concurrent.futures.as_completed(started):
            job, start = started[future]
            try:
                yield job.path, future.result(), None
            except Exception as error:
                job.target.unlink(missing_ok=True)
                text = str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}"
                yield (
                    job.path,
                    time.monotonic() - start,
                    re.sub(r"\s+", " ", f"{job.path.stem}: {text}").strip(),
                )
