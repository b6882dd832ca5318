"""Strict runs of the notebooks: every mistake is found before anything starts, and no half-written page is left.

A notebook names its parameters in one code cell with the tag `parameters`, each with a type, a default and a comment:

    seed: int = 0  # first data seed

A run puts the given values behind that cell, executes all cells in a fresh process, appends a block that says how the
page was made, and only then moves the result to its place.
"""

from __future__ import annotations

import ast
import concurrent.futures
import dataclasses
import difflib
import io
import json
import multiprocessing
import os
import re
import shutil
import tempfile
import time
import tokenize
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pydantic

from jpo_lib.storage import PACKAGE, root_folder
NEEDED_SPACE = 50_000_000  # bytes; an executed notebook takes 1 to 10 MB

# What a parameter of this name must fulfil in every notebook: a test and what it expects.
RANGES: dict[str, tuple[Callable[[typing.Any], bool], str]] = {
    "seed": (lambda v: 0 <= v < 2**31, "a whole number from 0 to 2147483647"),
    "num_problems": (lambda v: v >= 1, "a whole number of at least 1"),
    "group_sizes": (lambda v: len(v) > 0 and min(v) >= 1, "a list of whole numbers of at least 1, such as [1, 16]"),
    "num_seeds": (lambda v: v >= 1, "a whole number of at least 1"),
    "num_steps": (lambda v: v >= 1, "a whole number of at least 1"),
    "width": (lambda v: v >= 1, "a whole number of at least 1"),
    "widths": (lambda v: len(v) > 0 and min(v) >= 1, "a list of whole numbers of at least 1, such as [128, 4096]"),
}


class InputError(ValueError):
    """The request is wrong. The message is one sentence: what was expected, what came, what to do."""


class RunError(RuntimeError):
    """A notebook stopped. The message names the notebook, the cell and the error."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One line of the `parameters` cell: its name, its type as written and evaluated, its default and its comment."""

    name: str
    annotation: str
    type: typing.Any
    default: typing.Any
    help: str


def list_notebooks() -> list[Path]:
    """All notebooks of the repository, in the order of their numbers."""
    return sorted((root_folder() / "notebooks").glob("*.ipynb"))


def list_profiles() -> list[str]:
    """Names of the profiles, the least work first."""
    names = {path.stem for path in (PACKAGE / "profiles").glob("*.yaml")}
    return [n for n in ("smoke", "laptop", "paper") if n in names] + sorted(names - {"smoke", "laptop", "paper"})


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint for a mistyped name: the nearest of the known ones, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"use one of {', '.join(known) or '(there are none)'}."


def check_profile(name: str) -> str:
    """Return the name when it is a profile; raises InputError with the nearest one otherwise."""
    if name not in list_profiles():
        raise InputError(f"Expected a profile, got '{name}': {nearest(name, list_profiles())}")
    return name


def find_notebook(name: str) -> Path:
    """The notebook of this path or stem ('03_wave_packet'); raises InputError with the nearest stem otherwise."""
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name).resolve()
    stems = {path.stem: path for path in list_notebooks()}
    stem = Path(name).name.removesuffix(".ipynb")
    if stem in stems and name in (stem, f"{stem}.ipynb", f"notebooks/{stem}.ipynb"):
        return stems[stem]
    raise InputError(f"Expected a notebook (a path or a stem), got '{name}': {nearest(stem, list(stems))}")


def read_notebook(path: Path) -> typing.Any:
    """Parse a notebook file; raises InputError when it is none."""
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises many kinds
        raise InputError(f"Expected a notebook in {path.name}, got a file that cannot be read: restore it.") from error
    return notebook


def read_parameters(path: Path) -> list[Parameter]:
    """The parameters of a notebook, read from its tagged cell without running it.

    Raises InputError when there is not exactly one such cell or when a line lacks its type, default or comment.
    """
    cells = [c for c in read_notebook(path).cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"Expected one cell with the tag 'parameters' in {path.name}, got {len(cells)}: add the tag.")
    source = cells[0].source
    try:
        comments = {
            token.start[0]: token.string.lstrip("# ").strip()
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        parameters = []
        for line in ast.parse(source).body:
            if not isinstance(line, ast.AnnAssign) or line.value is None or not comments.get(line.end_lineno):
                raise SyntaxError(ast.unparse(line))
            annotation = ast.unparse(line.annotation)
            evaluated = eval(annotation, {"Literal": typing.Literal})  # the notebook's own code, as running it would be
            default = ast.literal_eval(line.value)
            parameters.append(
                Parameter(ast.unparse(line.target), annotation, evaluated, default, comments[line.end_lineno])
            )
    except (SyntaxError, tokenize.TokenError, ValueError, NameError, TypeError) as error:
        raise InputError(
            f"Expected lines such as 'seed: int = 0  # first data seed' in the parameters cell of {path.name}, "
            f"got '{error}': correct the cell."
        ) from error
    return parameters


def check_parameters(path: Path, given: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Check values for the parameters of a notebook; see `check_values`."""
    return check_values(read_parameters(path), given, path.stem)


def check_values(
    parameters: Sequence[Parameter], given: Mapping[str, typing.Any], owner: str
) -> dict[str, typing.Any]:
    """Check values, strictly: 1e3 is no whole number and 007 is not 7.

    parameters: those that there are.
    given: values by name; a text stands for the value it spells, as on the command line.
    owner: what the parameters belong to, for the messages.

    Returns the values, parsed. Raises InputError for an unknown name, a wrong type, a value out of range.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {}
    for name, value in given.items():
        if name not in known:
            raise InputError(f"Expected a parameter of {owner}, got '{name}': {nearest(name, list(known))}")
        values[name] = _checked_value(known[name], value, owner)
    complete = {p.name: p.default for p in parameters} | values
    if isinstance(complete.get("profile"), str):
        check_profile(complete["profile"])
    num_problems, group_sizes = complete.get("num_problems"), complete.get("group_sizes")
    for size in group_sizes if num_problems and group_sizes else []:
        if num_problems % size:
            raise InputError(
                f"Expected group_sizes that divide num_problems = {num_problems}, got {size}: change one of the two."
            )
    return values


def _checked_value(parameter: Parameter, value: typing.Any, owner: str) -> typing.Any:
    adapter = pydantic.TypeAdapter(parameter.type, config=pydantic.ConfigDict(strict=True, allow_inf_nan=False))
    expected = RANGES.get(parameter.name, (None, parameter.annotation))[1]
    try:
        checked = _from_text(adapter, value) if isinstance(value, str) else adapter.validate_python(value)
        if checked is None or parameter.name not in RANGES or RANGES[parameter.name][0](checked):
            return checked
    except (pydantic.ValidationError, TypeError):
        pass
    advice = "leave it out" if parameter.default is None else f"give a value such as {json.dumps(parameter.default)}"
    raise InputError(f"Expected {expected} for the parameter {parameter.name} of {owner}, got '{value}': {advice}.")


def _from_text(adapter: pydantic.TypeAdapter, text: str) -> typing.Any:
    """The value that a text spells: JSON (Python's None, True and False too), or the text itself."""
    spelled = {"None": "null", "True": "true", "False": "false"}.get(text, text)
    try:
        return adapter.validate_json(spelled)
    except pydantic.ValidationError:
        return adapter.validate_python(text)


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
        raise InputError(f"Expected a folder that can be written to, got '{folder}' ({reason}): {advice}") from error
    if free < NEEDED_SPACE:
        raise InputError(
            f"Expected {NEEDED_SPACE // 10**6} MB of free space in '{folder}', got {free // 10**6} MB: "
            f"make space or {advice}"
        )


@dataclasses.dataclass(frozen=True)
class Job:
    """One notebook run: what to execute, with which checked values, where to and for how long per cell (seconds)."""

    path: Path
    values: dict[str, typing.Any]
    target: Path
    timeout: float | None


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
        raise InputError(f"Expected a time-out above 0 seconds, got {timeout}: use for example --timeout 600.")
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
    from jpo_lib.execution import execute

    # A process for each notebook, not a thread: kernels, settings and failures stay apart.
    context = multiprocessing.get_context("spawn")
    first = None if jobs == 1 else _compute_alone
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1, initializer=first) as pool:
        started = {pool.submit(execute, job): (job, time.monotonic()) for job in work}
        for future in concurrent.futures.as_completed(started):
            job, start = started[future]
            try:
                yield job.path, future.result(), None
            except Exception as error:
                job.target.unlink(missing_ok=True)
                text = str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}"
                yield job.path, time.monotonic() - start, re.sub(r"\s+", " ", f"{job.path.stem}: {text}").strip()
