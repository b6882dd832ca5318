"""The command `jpo`: run notebooks, compute studies, judge the claims. Heavy libraries are imported where they are used.

Exit codes: 0 done, 1 something failed while it ran, 2 the request was wrong (one sentence on stderr, nothing started).
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
from typing import Annotated, Optional

import typer

from jpo_book.files import root_folder
from jpo_book.run import compilation, parameters, runner

app = typer.Typer(
    help="Solve inverse problems together: notebooks, studies and claims of the companion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Profile = Annotated[
    str, typer.Option(help="Amount of work: smoke (seconds), laptop (minutes) or paper (hours).")
]
Values = Annotated[
    Optional[list[str]], typer.Option("-p", metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
]
Folder = Annotated[Optional[Path], typer.Option(help="Folder of the study files (default: _build/studies).")]

USAGE_ERROR = typer.BadParameter.__bases__[0]  # typer exports only this child of it

STUDY_PARAMETERS = [
    parameters.Parameter("seed", "int", int, 0, "first data seed"),
    parameters.Parameter(
        "num_problems", "int | None", Optional[int], None, "number of problems; None: the profile's"
    ),
    parameters.Parameter(
        "group_sizes", "list[int] | None", Optional[list[int]], None, "n; None: the profile's"
    ),
]


def _pairs(values: list[str] | None) -> dict[str, str]:
    """['seed=3'] -> {'seed': '3'}"""
    pairs = {}
    for text in values or []:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise parameters.InputError(
                f"Expected NAME=VALUE after -p, got '{text}': write for example -p seed=3."
            )
        if name in pairs:
            raise parameters.InputError(
                f"Expected every parameter once, got {name} twice: keep one of the two."
            )
        pairs[name] = value
    return pairs


def _report(what: str, seconds: float | None = None) -> None:
    """One line for one finished step."""
    print(what if seconds is None else f"{what:<64} {seconds:7.1f} s", flush=True)


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"jpo {installed('jpo_lib')}")
        raise typer.Exit()


@app.command()
def run(
    names: Annotated[
        Optional[list[str]], typer.Argument(metavar="[NOTEBOOK]...", help="Paths or stems; none: all.")
    ] = None,
    profile: Annotated[
        Optional[str], typer.Option(help="Amount of work: smoke, laptop, paper or published.")
    ] = None,
    values: Values = None,
    jobs: Annotated[int, typer.Option(help="How many notebooks run at the same time.")] = 1,
    output: Annotated[
        Optional[Path], typer.Option(help="Folder of the pages (default: book/_executed).")
    ] = None,
    timeout: Annotated[
        Optional[float], typer.Option(help="Seconds that one cell may take (default: no limit).")
    ] = None,
) -> None:
    """Run notebooks with checked parameters; a page is written only when the whole notebook has run."""
    given = _pairs(values)
    if profile is not None:
        if "profile" in given:
            raise parameters.InputError(
                "Expected the profile once, got --profile and -p profile: keep one of the two."
            )
        given["profile"] = parameters.check_profile(profile)
    compilation.prepare(given.get("profile", "laptop"))
    paths = [parameters.find_notebook(name) for name in names] if names else parameters.list_notebooks()
    if not paths:
        raise parameters.InputError("Expected notebooks in notebooks/, got none: run jpo inside the clone.")
    folder = output if output is not None else root_folder() / "book" / "_executed"
    failed = False
    for path, seconds, error in runner.run_notebooks(paths, given, folder, jobs=jobs, timeout=timeout):
        if error is None:
            _report(f"notebook  {path.stem}", seconds)
        else:
            failed = True
            print(f"jpo run: {error}", file=sys.stderr, flush=True)
    if failed:
        raise typer.Exit(1)


@app.command("notebooks")
def list_notebooks() -> None:
    """List the notebooks with their parameters, types, defaults and meaning."""
    from rich.console import Console
    from rich.table import Table

    table = Table("notebook", "parameter", "type", "default", "meaning", box=None, pad_edge=False)
    for path in parameters.list_notebooks():
        for row, parameter in enumerate(parameters.read_parameters(path)):
            table.add_row("" if row else path.stem, parameter.name, parameter.annotation, repr(parameter.default),
                          parameter.help)  # fmt: skip
    Console().print(table)


def _plan(study: str | None, profile: str, values: list[str] | None) -> list:
    """The cells of one study or of all, after all checks."""
    parameters.check_profile(profile)
    from jpo_book import studies

    if study is not None and study not in studies.STUDIES:
        hint = parameters.nearest(study, list(studies.STUDIES))
        raise parameters.InputError(f"Expected the name of a study, got '{study}': {hint}")
    settings = parameters.check_values(STUDY_PARAMETERS, _pairs(values), "a study")
    names = [study] if study is not None else list(studies.STUDIES)
    try:
        return [cell for name in names for cell in studies.plan(name, profile, **settings)]
    except ValueError as error:
        raise parameters.InputError(str(error)) from error


@app.command()
def study(
    name: Annotated[
        Optional[str],
        typer.Argument(metavar="STUDY", help="Name of a problem or of a further study of it; none: all."),
    ] = None,
    profile: Profile = "laptop",
    values: Values = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Show the cells and their state, compute nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --list: everything that the workflow needs.")
    ] = False,
    requests: Annotated[
        bool, typer.Option("--requests", help="With --json: also the time and memory to ask a cluster for.")
    ] = False,
    cell: Annotated[
        Optional[list[str]], typer.Option(help="Compute only this cell; may be repeated.")
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="Take reference results of results/ where they are valid, first of all."
        ),
    ] = False,
    folder: Folder = None,
) -> None:
    """Compute the cells of a study that are not there yet or not valid any more."""
    compilation.prepare(profile)
    cells = _plan(name, profile, values)
    from jpo_book import studies
    from jpo_book.files import studies_folder

    folder = folder if folder is not None else studies_folder()
    if adopt:
        runner.check_output_folder(folder, "--folder")
        studies.adopt(cells, folder)
    if list_only:
        if as_json:
            from jpo_book.studies.workflow_plan import workflow_plan

            print(json.dumps(workflow_plan(cells, profile, folder, requests)))
        else:
            for one in cells:
                print(f"{one.name}\t{studies.check(one, folder)}")
        return
    by_name = {one.name: one for one in cells}
    for name in cell or []:
        if name not in by_name:
            raise parameters.InputError(
                f"Expected a cell of the plan, got '{name}': {parameters.nearest(name, list(by_name))}"
            )
    states = {name: studies.check(by_name[name], folder) for name in cell or by_name}
    for name, state in states.items():
        if state.startswith("foreign"):
            raise parameters.InputError(
                f"Expected a study file of this library at {name}, got a {state}: move it away."
            )
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
    from jpo_book.files import write_if_changed
    from jpo_book.pages import cost_pages, ledger

    started = time.monotonic()
    root = root_folder()
    path = ledger.write_ledger(root)
    write_if_changed(root / "book" / "_generated" / "cost_estimate.md", cost_pages.fragment())
    items = json.loads(path.read_text(encoding="utf-8"))["items"]
    for item in items:
        if item["kind"] == "claim":
            _report(f"claim     {item['id']}: {item['verdict']}")
    _report(
        f"ledger    {sum(i['status'] == 'built' for i in items)} of {len(items)} items built",
        time.monotonic() - started,
    )


@app.command()
def timings(folder: Folder = None) -> None:
    """Keep the times of the studies that were computed here in results/timings, for estimates of what others will cost."""
    from jpo_book.files import studies_folder
    from jpo_book.pages import cost_estimate

    times = cost_estimate.computed(
        cost_estimate.cells_that_tell(), [studies_folder() if folder is None else folder]
    )
    if not times:
        raise parameters.InputError(
            "Expected computed studies of the profiles laptop or paper, got none: run make book first."
        )
    for path in cost_estimate.keep(times, cost_estimate.timings_folder()):
        _report(f"timings   {path.name}")


@app.command()
def verify(
    name: Annotated[
        Optional[str], typer.Argument(metavar="STUDY", help="Name of a study; none: all.")
    ] = None,
    profile: Profile = "paper",
    sample: Annotated[int, typer.Option(help="How many cells to recompute.", min=1)] = 2,
    longest: Annotated[
        float, typer.Option(help="Leave out cells whose computation took more seconds than this.", min=0)
    ] = 120.0,
    draw: Annotated[
        Optional[int], typer.Option(help="Seed of the drawing (default: a new one each time).")
    ] = None,
    folder: Annotated[
        Optional[Path],
        typer.Option(help="Folder of the study files (default: the reference results in results/)."),
    ] = None,
) -> None:
    """Recompute a random sample of the reference results and compare: bit for bit where the arithmetic is the same, else within stated bounds."""
    compilation.prepare(profile)
    import tempfile

    cells = _plan(name, profile, None)
    from jpo_book import studies
    from jpo_book.files import reference_folder
    from jpo_book.studies.agreement import compare
    from jpo_book.studies.manifest import manifest_in
    from jpo_book.studies.netcdf import read_netcdf

    folder = folder if folder is not None else reference_folder()

    stored = [
        cell
        for cell in cells
        if studies.check(cell, folder) == "valid" and manifest_in(folder, cell)["seconds"]["total"] <= longest
    ]
    if not stored:
        raise parameters.InputError(
            f"Expected valid results of the profile {profile} in {folder.name}, got none that took at most {longest:g} s: "
            "choose another --profile, --folder or --longest."
        )
    different = False
    for cell in random.Random(draw).sample(stored, min(sample, len(stored))):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            new, old = (
                read_netcdf(studies.run_cell(cell, Path(scratch))),
                read_netcdf(folder / f"{cell.name}.nc"),
            )
            agrees, verdict = compare(old, new, manifest_in(folder, cell), manifest_in(Path(scratch), cell))
        different |= not agrees
        _report(f"verify    {cell.name}: {verdict}", time.monotonic() - started)
    if different:
        raise typer.Exit(1)


def _end_with_build() -> None:
    """End when the build that started this command is gone: a killed build leaves nothing running.

    JPO_BUILD is 'host:process', set by workflow/build.py; on another host (a cluster's) it says nothing.
    """
    host, _, process = os.environ.get("JPO_BUILD", "").rpartition(":")
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
    _end_with_build()
    # Programs compiled once are kept: a later command of the same kind starts in seconds.
    cache = compilation.programs_folder(root_folder())
    if os.environ.get(
        "JPO_EXECUTOR"
    ):  # set by workflow/build.py when the work is done by the nodes of a cluster
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)  # instead of the driver's
    compilation.keep_programs(cache)
    try:
        code = app(standalone_mode=False)
    except parameters.InputError as error:
        print(f"jpo: {error}", file=sys.stderr)
        code = 2
    except USAGE_ERROR as error:
        print(f"jpo: {error.format_message()} See jpo --help.", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        print("jpo: interrupted.", file=sys.stderr)
        code = 130
    except OSError as error:
        print(
            f"jpo: {error.strerror or error}: {error.filename or 'unknown file'}; make it possible and try again.",
            file=sys.stderr,
        )
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
