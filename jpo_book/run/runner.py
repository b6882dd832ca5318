"""Runs of notebooks, each in a process of its own; every mistake is found before anything starts."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from jpo_book import hermetic
from jpo_book.files import BLANK, PACKAGE, name_of, root_folder, sealed, write_atomically
from jpo_book.run import items, page_state
from jpo_book.run.parameters import InputError, check_parameters, read_notebook, read_parameters

# Where files that git does not know can change a page.
WATCHED = ("jpo_lib", "jpo_book", "workflow", "book", "_config.yml")
FATAL = re.compile(r"F\d{4}|Fatal|terminate called|\w*Error\b|.*bad_alloc")  # last words of a process
NEEDED_SPACE = 50_000_000  # bytes; an executed notebook takes 1 to 10 MB

# Runs in the notebook's own process after its last cell, so that it reports what the notebook really used.
FACTS_CELL = """
import contextlib, importlib.metadata, json, os, platform, sys
_facts = {"versions": {"Python": platform.python_version()}, "device": f"CPU, {os.cpu_count()} cores"}
for _name in ("jpo_lib", "jax", "jaxlib", "numpy", "scipy"):
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        _facts["versions"][_name] = importlib.metadata.version(_name)
if "jax" in sys.modules and sys.modules["jax"].default_backend() != "cpu":
    _devices = sys.modules["jax"].devices()
    _facts["device"] = f"{len(_devices)} x {_devices[0].device_kind}"
from jpo_book import hermetic
if "jax" in sys.modules:
    _facts["numerics"] = {_name: getattr(sys.modules["jax"].config, _name) for _name in hermetic.NUMERICS}
_facts["compiler_flags"] = os.environ.get("XLA_FLAGS", "")
print(json.dumps(_facts))
"""


class RunError(RuntimeError):
    """A notebook stopped. The message names the notebook, the cell and the error."""


class Job(NamedTuple):
    """One notebook run: what to execute, with which checked values,
    where to and for how long per cell (seconds)."""

    path: Path
    values: dict[str, Any]
    target: Path
    timeout: float | None


def check_output_folder(folder: Path, option: str = "--output") -> None:
    """Make the folder where it is missing; raises InputError when nothing can be written there
    or space is short.

    option: of the command, that chooses another folder.
    """
    advice = f"choose another folder with {option}."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(1_000_000))
            probe.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        got = f"'{folder}' ({(error.strerror or str(error)).lower()})"
        raise InputError(f"Expected a folder that can be written to, got {got}: {advice}") from error
    if free < NEEDED_SPACE:
        needed = f"{NEEDED_SPACE // 10**6} MB of free space in '{folder}'"
        raise InputError(f"Expected {needed}, got {free // 10**6} MB: make space or {advice}")


def run_notebooks(
    paths: Sequence[Path], given: Mapping, output_folder: Path, *, jobs: int = 1, timeout: float | None = None
) -> Iterator[tuple[Path, float, str | None]]:
    """Check everything, then run the notebooks, each in a process of its own.

    paths: the notebooks, as `find_notebook` returns them.
    given: values for their parameters, as `check_parameters` takes them.
    output_folder: receives <stem>.ipynb; an old page of a notebook that fails is removed,
        so that none is out of date.
    jobs: how many run at the same time.
    timeout: seconds that one cell may take; None for no limit.

    Yields (notebook, seconds, None or the error's sentence) as they finish.
    Raises InputError before anything starts.
    """
    if jobs < 1:
        raise InputError(f"Expected at least 1 job, got {jobs}: use for example --jobs 2.")
    if timeout is not None and not timeout > 0:
        raise InputError(
            f"Expected a time-out above 0 seconds, got {timeout}: use for example --timeout 600."
        )
    stems = [path.stem for path in paths]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise InputError(f"Expected every notebook once, got {', '.join(twice)} twice: name it once.")
    work = [Job(p, check_parameters(p, given), output_folder / f"{p.stem}.ipynb", timeout) for p in paths]
    check_output_folder(output_folder)
    return _run(work, jobs)


def _run(work: list[Job], jobs: int) -> Iterator[tuple[Path, float, str | None]]:
    # A process for each notebook, not a thread: kernels, settings and failures stay apart.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, _begin, (jobs > 1,), max_tasks_per_child=1) as pool:
        started = {pool.submit(execute, job): (job, time.monotonic()) for job in work}
        for future in as_completed(started):
            job, start = started[future]
            try:
                yield job.path, future.result(), None
            except Exception as error:
                job.target.unlink(missing_ok=True)
                cause = str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}"
                sentence = re.sub(r"\s+", " ", f"{job.path.stem}: {cause}").strip()
                yield job.path, time.monotonic() - start, sentence


def _begin(alone: bool) -> None:
    """In a worker: see only what a run may see, and end when a killed `jpo run` is gone; alone: no second
    process for studies."""
    hermetic.enter()
    if alone:
        os.environ.setdefault("JPO_PROCESSES", "1")

    def end() -> None:
        if parent := multiprocessing.parent_process():
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def execute(job: Job) -> float:
    """In a worker: run a checked job and put the executed notebook at its place; returns the seconds it took.

    Returns only when the finished page, with its provenance block, stands there. Raises RunError, naming the
    cell, when a cell fails or takes too long, and naming the figure or table that the page lacks.
    """
    import nbformat

    started = time.monotonic()
    sources = page_state.made_from(job.path)
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder) / "stderr.txt", "w") as noise:
            # Kernels chat there; what a notebook writes to its stderr is in its page.
            os.dup2(noise.fileno(), 2)
        log = Path(folder) / "results.jsonl"
        log.touch()
        os.environ["JPO_RESULTS_LOG"] = str(log)
        # Else every kernel prints a debugger's warning.
        os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
        notebook, facts = _run_cells(job, Path(noise.name))
        seconds = time.monotonic() - started
        results = {entry["path"]: entry for entry in map(json.loads, log.read_text("utf-8").splitlines())}
    record = {
        "notebook": name_of(job.path, otherwise=Path(job.path.name)),
        "parameters": {p.name: p.default for p in read_parameters(job.path)} | job.values,
        "given": job.values,
        "commit": commit(root_folder()),
        **facts,
        "seconds": round(seconds, 1),
        "results": [results[path] for path in sorted(results)],
        "made_from": sources,
        "seal": BLANK,
    }
    _tidy(notebook)
    if lacking := items.missing(notebook, page_state.owner(job.path)):
        raise RunError(f"{lacking[0]}: see to it that the notebook draws or prints it")
    notebook.metadata["jpo"] = record
    notebook.cells.append(nbformat.v4.new_markdown_cell(provenance_block(record), id="provenance"))
    write_atomically(job.target, sealed(nbformat.writes(notebook)), on_disk=True)
    return seconds


def _run_cells(job: Job, noise: Path) -> tuple[Any, dict[str, Any]]:
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    from jpo_book.run.kernel import OwnKernelManager

    notebook = read_notebook(job.path)
    notebook.cells.append(nbformat.v4.new_code_cell(FACTS_CELL))
    try:
        with warnings.catch_warnings():
            # Of Papermill and its libraries: those of the notebook are in its page.
            warnings.simplefilter("ignore")
            done = papermill.execute_notebook(
                notebook,
                None,  # Papermill would write a page after every cell; ours is written once, when it is whole
                parameters=job.values,
                kernel_name="python3",  # for Papermill; what is started is our own
                kernel_manager_class=OwnKernelManager,
                coalesce_streams=True,  # pieces of a text arrive as time has it
                cwd=str(job.path.parent),
                progress_bar=False,
                execution_timeout=job.timeout,
            )
    except papermill.PapermillExecutionError as error:
        number = error.cell_index + (0 if job.values else 1)  # the injected cell is not in the file
        first = error.source.strip().partition("\n")[0]
        cause = f"cell {number} ('{first}') failed with {error.ename}: {error.evalue[:500]}"
    except CellTimeoutError as error:
        first = re.search(r"^-+\n(.*)$", str(error), re.MULTILINE)
        cell = f"the cell '{first[1]}'" if first else "a cell"
        cause = f"{cell} took longer than {job.timeout:g} s: allow more time with --timeout"
    except (DeadKernelError, RuntimeError):  # RuntimeError: before the first cell
        said = noise.read_text("utf-8", errors="replace")
        cause = _cause_of_death(OwnKernelManager.status, said)
    else:
        facts = json.loads("".join(output.get("text", "") for output in done.cells.pop().outputs))
        return done, facts
    raise RunError(cause)


def _cause_of_death(status: int | None, said: str) -> str:
    """Why the process of a notebook ended, from its exit status and from what it wrote to stderr."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if status == -signal.SIGKILL:
        return "its process was killed, as a system does when memory runs short: use less work or free memory"
    fatal = [line for line in lines if FATAL.match(line)]
    ended = f"by signal {-status}" if status and status < 0 else f"with exit status {status}"
    return f"its process ended {ended}" + (f", with the words '{fatal[-1]}'" if fatal else "")


def _tidy(notebook: Any) -> None:
    """Remove what differs from run to run and what names places of this machine; hide the injected values.

    The data that a figure carries move to its cell: an output of this kind would be shown nowhere.
    """
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "text/csv" in output.get("data", {}):
                cell.metadata["figure_data"] = output["data"].pop("text/csv")
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("remove-cell")
            cell["id"] = "injected-parameters"


def commit(root: Path) -> str:
    """The commit of the clone, with a remark where files of git differ from it; else why it is not known.

    Files that git does not know count where a run could import or load them. JPO_COMMIT says the commit where
    git cannot: on a service that hands over files without their history, say.
    """
    if told := os.environ.get("JPO_COMMIT"):
        return f"{told} (told by JPO_COMMIT)"
    if not (root / ".git").exists():
        return "unknown (not run in a git clone)"
    # The clone may belong to somebody else, as it does in the containers of many services.
    trusted = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        settings = hermetic.environment(os.environ) | trusted
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        found = git("rev-parse", "--verify", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
        changed += git("ls-files", "--others", "--exclude-standard", "--", *WATCHED)
    except FileNotFoundError:
        return "unknown (git is not installed)"
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["git failed without a word"])[0]
        return f"unknown (git says: {said})"
    return found + (" with uncommitted changes" if changed else "")


def provenance_block(record: dict[str, Any]) -> str:
    """MyST Markdown of the folded block at the end of a page.

    record: notebook, parameters, commit, versions, device, seconds and results, as `execute` collects them.
    """
    source, values = record["notebook"], record["parameters"]
    shown = {name: _code(f"{name} = {value!r}") for name, value in values.items()}
    files = [f"| {_code(entry['path'])} | {_code(entry['sha256'])} |" for entry in record["results"]]
    fields = {
        "notebook": f"{{source}}`{source}`" if source.startswith("notebooks/") else _code(source),
        "profile": _code(values.get("profile", "none")),
        "parameters": "<br>".join(shown.values()),
        "seeds": ", ".join(shown[name] for name in shown if "seed" in name) or "none",
        "commit": record["commit"] if record["commit"].startswith("unknown") else _code(record["commit"]),
        "settings": _settings(record),
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "files": "\n".join(["", "| Result file | SHA-256 |", "|---|---|", *files, ""]) if files else "",
    }
    template = Template((PACKAGE / "run" / "provenance.md").read_text(encoding="utf-8"))
    return template.substitute(record | fields).strip()


def _settings(record: dict[str, Any]) -> str:
    """What decided the numbers, beside versions: JAX's settings, where they differ from the book's, and the
    flags of XLA."""
    found, usual = record.get("numerics", {}), hermetic.NUMERICS
    differing = ", ".join(_code(f"{name} = {found[name]}") for name in found if found[name] != usual[name])
    flags = record.get("compiler_flags") or "none"
    return f"{differing or 'those of the book'}; compiler flags: {_code(flags)}"


def _code(value: object) -> str:
    """Inline code that is safe inside a table."""
    return "`" + str(value).replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
