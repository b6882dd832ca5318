"""The command `jpo`: run notebooks, compute studies, judge the claims. Heavy libraries are imported where
they are used.

Exit codes: 0 done, 1 something failed while it ran,
2 the request was wrong (one sentence on stderr, nothing started).
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from jpo_book import hermetic
from jpo_book.files import InputError, root_folder
from jpo_book.run import compilation, parameters, runner, sources
from jpo_book.run.parameters import Parameter

app = typer.Typer(
    help="Solve inverse problems together: notebooks, studies and claims of the companion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Profile = Annotated[str, Option(help="Amount of work: smoke, laptop, paper or published.")]
Values = Annotated[
    list[str] | None, Option("-p", metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
]
Folder = Annotated[Path | None, Option(help="Of the study files (default: _build/studies).")]
Study = Annotated[str | None, Argument(metavar="STUDY", help="Name of a study; none: all.")]

USAGE_ERROR: Any = typer.BadParameter.__bases__[0]  # typer exports only this child of it

STUDY_PARAMETERS = [
    Parameter("seed", "int", int, 0, "first data seed"),
    Parameter("num_problems", "int | None", int | None, None, "number of problems; None: the profile's"),
    Parameter("group_sizes", "list[int] | None", list[int] | None, None, "n; None: the profile's"),
]


def _pairs(values: list[str] | None) -> dict[str, str]:
    """['seed=3'] -> {'seed': '3'}"""
    pairs = {}
    for text in values or []:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"Expected NAME=VALUE after -p, got '{text}': write for example -p seed=3.")
        if name in pairs:
            raise InputError(f"Expected every parameter once, got {name} twice: keep one of the two.")
        pairs[name] = value
    return pairs


def _report(what: str, seconds: float | None = None) -> None:
    """One line for one finished step."""
    print(what if seconds is None else f"{what:<64} {seconds:7.1f} s", flush=True)


def _one_of(known, name: str, what: str):
    """The value of a name; an unknown one is refused with the nearest."""
    if name not in known:
        hint = parameters.nearest(name, list(known))
        raise InputError(f"Expected {what}, got '{name}': {hint}")
    return known[name]


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"jpo {installed('jpo_lib')}")
        raise typer.Exit()


@app.command()
def run(
    names: Annotated[
        list[str] | None, Argument(metavar="[NOTEBOOK]...", help="Paths or stems; none: all.")
    ] = None,
    profile: Annotated[str | None, Option(help="Amount of work: smoke, laptop, paper or published.")] = None,
    values: Values = None,
    jobs: Annotated[int, Option(help="How many notebooks run at the same time.")] = 1,
    output: Annotated[Path | None, Option(help="Folder of the pages (default: book/_executed).")] = None,
    timeout: Annotated[float | None, Option(help="Most seconds for one cell (default: no limit).")] = None,
) -> None:
    """Run notebooks with checked parameters; a page is written only when the whole notebook has run."""
    given = _pairs(values)
    if profile is not None:
        if "profile" in given:
            raise InputError("Expected the profile once, got --profile and -p profile: keep one of the two.")
        given["profile"] = parameters.check_profile(profile)
    compilation.prepare(given.get("profile", "laptop"))
    paths = [parameters.find_notebook(name) for name in names] if names else sources.list_notebooks()
    if not names:
        print("".join(f"{line}\n" for line in sources.left_out()), end="")
    if not paths:
        raise InputError("Expected notebooks in notebooks/, got none: run jpo inside the clone.")
    folder = output or root_folder() / "book" / "_executed"
    code = 0
    for path, seconds, error in runner.run_notebooks(paths, given, folder, jobs=jobs, timeout=timeout):
        if error is None:
            _report(f"notebook  {path.stem}", seconds)
        else:
            code = 1
            print(f"jpo run: {error}", file=sys.stderr, flush=True)
    raise typer.Exit(code)


@app.command("notebooks")
def list_notebooks() -> None:
    """List the notebooks with their parameters, types, defaults and meaning."""
    from rich.console import Console
    from rich.table import Table

    table = Table("notebook", "parameter", "type", "default", "meaning", box=None, pad_edge=False)
    for path in sources.list_notebooks():
        for row, parameter in enumerate(parameters.read_parameters(path)):
            told = (parameter.name, parameter.annotation, repr(parameter.default), parameter.help)
            table.add_row("" if row else path.stem, *told)
    Console().print(table)


def _plan(study: str | None, profile: str, values: list[str] | None) -> list:
    """The cells of one study or of all, after all checks."""
    parameters.check_profile(profile)
    from jpo_book import studies

    known = {name: name for name in studies.STUDIES}
    names = known if study is None else [_one_of(known, study, "the name of a study")]
    settings = parameters.check_values(STUDY_PARAMETERS, _pairs(values), "a study")
    try:
        return [cell for name in names for cell in studies.plan(name, profile, **settings)]
    except ValueError as error:
        raise InputError(str(error)) from error


@app.command()
def study(
    name: Study = None,
    profile: Profile = "laptop",
    values: Values = None,
    list_only: Annotated[bool, Option("--list", help="Only show the cells and their state.")] = False,
    as_json: Annotated[bool, Option("--json", help="With --list: all that the workflow needs.")] = False,
    cell: Annotated[list[str] | None, Option(help="Only this cell; may be repeated.")] = None,
    adopt: Annotated[bool, Option("--adopt", help="First take valid results of results/.")] = False,
    folder: Folder = None,
) -> None:
    """Compute the cells of a study that are not there yet or not valid any more."""
    compilation.prepare(profile)
    cells = _plan(name, profile, values)
    from jpo_book import studies
    from jpo_book.files import studies_folder

    folder = folder or studies_folder()
    if adopt:
        runner.check_output_folder(folder, "--folder")
        studies.adopt(cells, folder)
    if list_only and as_json:
        from jpo_book.studies.workflow_plan import workflow_plan

        print(json.dumps(workflow_plan(cells, profile, folder)))
    if list_only:
        if not as_json:
            print("".join(f"{one.name}\t{studies.check(one, folder)}\n" for one in cells), end="")
        return
    by_name = {one.name: one for one in cells}
    chosen = [_one_of(by_name, one, "a cell of the plan").name for one in cell] if cell else list(by_name)
    states = {name: studies.check(by_name[name], folder) for name in chosen}
    for name, state in states.items():
        if state.startswith("foreign"):
            raise InputError(f"Expected a study file of this library at {name}, got a {state}: move it away.")
    if set(states.values()) - {"valid"}:
        runner.check_output_folder(folder, "--folder")
    for name, state in states.items():
        started = time.monotonic()
        if state == "valid":
            _report(f"study     {name} is there")
            continue
        studies.run_cell(by_name[name], folder)
        was = "" if state == "missing" else f" (was {state})"
        _report(f"study     {name}{was}", time.monotonic() - started)


@app.command()
def claims() -> None:
    """Judge the claims from the results; write _build/ledger.json and the pages made from it."""
    from jpo_book.pages import ledger

    started = time.monotonic()
    path = ledger.write_ledger(root_folder())
    items = json.loads(path.read_text(encoding="utf-8"))["items"]
    for item in items:
        if item["kind"] == "claim":
            _report(f"claim     {item['id']}: {item['verdict']}")
    built = sum(item["status"] == "built" for item in items)
    _report(f"ledger    {built} of {len(items)} items built", time.monotonic() - started)


@app.command()
def verify(
    name: Study = None,
    profile: Profile = "paper",
    sample: Annotated[int, Option(help="How many cells to recompute.", min=1)] = 2,
    longest: Annotated[float, Option(help="Leave out cells that took more seconds.", min=0)] = 120.0,
    draw: Annotated[int | None, Option(help="Seed of the drawing (default: a new one).")] = None,
    folder: Annotated[Path | None, Option(help="Of the study files (default: results/).")] = None,
) -> None:
    """Recompute a random sample of the reference results and compare: bit for bit where the arithmetic is the
    same, else within stated bounds."""
    compilation.prepare(profile)
    import tempfile

    cells = _plan(name, profile, None)
    from jpo_book import studies
    from jpo_book.files import reference_folder
    from jpo_book.studies.agreement import compare
    from jpo_book.studies.manifest import manifest_in
    from jpo_book.studies.netcdf import read_netcdf

    folder = folder or reference_folder()
    valid = [(cell, manifest_in(folder, cell)) for cell in cells if studies.check(cell, folder) == "valid"]
    stored = [(cell, manifest) for cell, manifest in valid if manifest["seconds"]["total"] <= longest]
    if not stored:
        expected = f"valid results of the profile {profile} in {folder.name}"
        advice = "choose another --profile, --folder or --longest"
        raise InputError(f"Expected {expected}, got none that took at most {longest:g} s: {advice}.")
    code = 0
    for cell, manifest in random.Random(draw).sample(stored, min(sample, len(stored))):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            new = read_netcdf(studies.run_cell(cell, Path(scratch)))
            old = read_netcdf(folder / f"{cell.name}.nc")
            agrees, verdict = compare(old, new, manifest, manifest_in(Path(scratch), cell))
        code |= not agrees
        _report(f"verify    {cell.name}: {verdict}", time.monotonic() - started)
    raise typer.Exit(code)


@app.command()
def restamp(
    since: Annotated[str, Option(help="Commit whose code the reference results are valid for.")],
    why: Annotated[str, Option(help="A sentence for the manifests: why no number can have changed.")],
) -> None:
    """Restamp the reference results that a change of code has made stale, where shortened cells have equal
    bits."""
    compilation.prepare("laptop")
    from jpo_book.files import reference_folder
    from jpo_book.studies.restamp import restamp

    differences = restamp(reference_folder(), root_folder(), since, why, _report)
    for pair, parts in differences.items():
        _report(f"restamp   {pair}: {'; '.join(dict.fromkeys(parts)) or 'equal bit for bit, restamped'}")
    raise typer.Exit(any(differences.values()))


def _end_with(name: str) -> None:
    """End when the process that started this command is gone: a killed build leaves nothing running.

    The variable of this name is 'host:process', see `files`; on another host (a cluster's) it says nothing.
    """
    host, _, process = os.environ.get(name, "").rpartition(":")
    if host != socket.gethostname() or not process.isdigit():
        return

    def watch() -> None:
        while True:
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                os._exit(1)
            except PermissionError:
                pass
            time.sleep(0.5)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Entry point: every wrong request ends in one sentence and exit code 2."""
    _end_with("JPO_BUILD")
    _end_with("JPO_PARENT")
    # Programs compiled once are kept: a later command of the same kind starts in seconds.
    compilation.keep_programs(compilation.programs_folder(root_folder()))
    code, message = 2, None
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        message = str(error)
    except USAGE_ERROR as error:
        message = f"{error.format_message()} See jpo --help."
    except (KeyboardInterrupt, typer.Abort):
        code, message = 130, "interrupted."
    except OSError as error:
        what = f"{error.strerror or error}: {error.filename or 'unknown file'}"
        code, message = 1, f"{what}; make it possible and try again."
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        what = " ".join(str(error).split())[:200] or "memory ran out"
        code, message = 1, f"{what}; free memory, or use less work, such as --profile smoke."
    if message:
        print(f"jpo: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    hermetic.seal("jpo", guard=True)
    main()
