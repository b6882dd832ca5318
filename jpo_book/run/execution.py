"""Run one notebook in this process and describe how: the part of `jpo_book.run.parameters` that happens in a worker.

`execute` returns only when the finished page, with its provenance block, stands at its place.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import re
import subprocess
import tempfile
import threading
import time
import typing
import warnings
from pathlib import Path

from jpo_book.files import name_of, root_folder, write_atomically
from jpo_book.run.parameters import Job, RunError, read_notebook, read_parameters

# Runs in the notebook's own process after its last cell, so that it reports what the notebook really used.
FACTS_CELL = """
import importlib.metadata, json, os, platform, sys
def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
_facts = {"versions": {"Python": platform.python_version()}, "device": f"CPU, {os.cpu_count()} cores"}
for _name in ("jpo_lib", "jax", "jaxlib", "numpy", "scipy"):
    if _version(_name):
        _facts["versions"][_name] = _version(_name)
if "jax" in sys.modules and sys.modules["jax"].default_backend() != "cpu":
    _devices = sys.modules["jax"].devices()
    _facts["device"] = f"{len(_devices)} x {_devices[0].device_kind}"
print(json.dumps(_facts))
"""


def execute(job: Job) -> float:
    """Run a checked job and put the executed notebook at its place; returns the seconds it took.

    Raises RunError, naming the cell, when a cell fails or takes too long.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import nbformat

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder) / "stderr.txt", "w") as noise:
            os.dup2(
                noise.fileno(), 2
            )  # kernels chat there; what a notebook writes to its stderr is in its page
        log = Path(folder) / "results.jsonl"
        os.environ["JPO_RESULTS_LOG"] = str(log)
        os.environ.setdefault(
            "PYDEVD_DISABLE_FILE_VALIDATION", "1"
        )  # else every kernel prints a debugger's warning
        notebook, facts = _run_cells(job)
        seconds = time.monotonic() - started
        results = _read_log(log)
    record = {
        "notebook": _name_of_source(job.path),
        "parameters": {p.name: p.default for p in read_parameters(job.path)} | job.values,
        "given": job.values,
        "commit": commit(root_folder()),
        **facts,
        "seconds": round(seconds, 1),
        "results": results,
    }
    _tidy(notebook)
    notebook.metadata["jpo"] = record
    notebook.cells.append(nbformat.v4.new_markdown_cell(provenance_block(record), id="provenance"))
    write_atomically(job.target, nbformat.writes(notebook), on_disk=True)
    return seconds


def _end_with_parent() -> None:
    """A killed `jpo run` must not leave workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _run_cells(job: Job) -> tuple[typing.Any, dict[str, typing.Any]]:
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    notebook = read_notebook(job.path)
    notebook.cells.append(nbformat.v4.new_code_cell(FACTS_CELL))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of Papermill and its libraries: those of the notebook are in its page
            done = papermill.execute_notebook(
                notebook,
                None,  # Papermill would write a page after every cell; ours is written once, when it is whole
                parameters=job.values,
                kernel_name="python3",
                cwd=str(job.path.parent),
                progress_bar=False,
                execution_timeout=job.timeout,
            )
    except papermill.PapermillExecutionError as error:
        number = error.cell_index + (0 if job.values else 1)  # the injected cell is not in the file
        first = error.source.strip().partition("\n")[0]
        raise RunError(f"cell {number} ('{first}') failed with {error.ename}: {error.evalue[:500]}") from None
    except CellTimeoutError as error:
        first = re.search(r"^-+\n(.*)$", str(error), re.MULTILINE)
        cell = f"the cell '{first[1]}'" if first else "a cell"
        raise RunError(f"{cell} took longer than {job.timeout:g} s: allow more time with --timeout") from None
    except DeadKernelError:
        raise RunError(
            "the process of the notebook died, most likely for lack of memory: use less work"
        ) from None
    facts = json.loads("".join(output.get("text", "") for output in done.cells.pop().outputs))
    return done, facts


def _tidy(notebook: typing.Any) -> None:
    """Remove what differs from run to run and what names places of this machine; hide the injected values.

    The data that a figure carries move to its cell: an output of this kind would be shown nowhere.
    """
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "text/csv" in output.get("data", {}):
                cell.metadata["figure_data"] = output["data"].pop("text/csv")
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("remove-cell")
            cell["id"] = "injected-parameters"


def _read_log(log: Path) -> list[dict[str, str]]:
    """The result files that the notebook read, without repetitions, by path."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    results = {entry["path"]: entry for entry in map(json.loads, lines)}
    return [results[path] for path in sorted(results)]


def _name_of_source(path: Path) -> str:
    root = root_folder()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def commit(root: Path) -> str | None:
    """The commit of the clone, with a remark where files differ from it; None outside a clone of its own."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None
        return git("rev-parse", "HEAD") + (
            " with uncommitted changes" if git("status", "--porcelain") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None


def provenance_block(record: dict[str, typing.Any]) -> str:
    """MyST Markdown of the folded block at the end of a page.

    record: notebook, parameters, commit, versions, device, seconds and results, as `execute` collects them.
    """
    parameters = record["parameters"]
    source = record["notebook"]
    rows = {
        "Notebook": f"{{source}}`{source}`" if source.startswith("notebooks/") else _code(source),
        "Profile": _code(parameters.get("profile", "none")),
        "Parameters": "<br>".join(_code(f"{name} = {value!r}") for name, value in parameters.items()),
        "Seeds": ", ".join(_code(f"{n} = {v!r}") for n, v in parameters.items() if "seed" in n) or "none",
        "Commit": _code(record["commit"]) if record["commit"] else "unknown (not run in a git clone)",
        "Versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "Device": record["device"],
        "Run time": f"{record['seconds']} s",
    }
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    if record["results"]:
        lines += ["", "| Result file | SHA-256 |", "|---|---|"]
        lines += [f"| {_code(entry['path'])} | {_code(entry['sha256'])} |" for entry in record["results"]]
    return "\n".join(
        [":::{dropdown} How this page was made", ":class-container: provenance", "", *lines, "", ":::"]
    )


def _code(value: object) -> str:
    """Inline code that is safe inside a table."""
    return "`" + str(value).replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
