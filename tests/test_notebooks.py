"""Strict runs: wrong requests are refused before anything starts, and only complete pages are written."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from packaging.requirements import Requirement

from jpo_book.files import PACKAGE
from jpo_book.run import parameters, runner, sources
from jpo_book.run.parameters import InputError, check_parameters, read_parameters
from jpo_book.run.runner import run_notebooks

sys.path.insert(0, str(ROOT / "workflow"))
import launch_cell

PARAMETERS = """\
profile: str = "laptop"  # amount of work
seed: int = 0  # first data seed
num_problems: int | None = None  # number of problems N
group_sizes: list[int] | None = None  # problems solved jointly
rate: float = 0.1  # learning rate
plot: bool = True  # draw the figure"""


def write_notebook(path, *sources, parameters=PARAMETERS):
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell(parameters)]
    cells[1].metadata["tags"] = ["parameters"]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_notebook(tmp_path_factory.mktemp("notebooks") / "page.ipynb", "print(seed)")


# Parameters


def test_parameters_are_read_with_type_default_and_help(page):
    found = {p.name: p for p in read_parameters(page)}
    assert list(found) == ["profile", "seed", "num_problems", "group_sizes", "rate", "plot"]
    assert found["seed"].annotation == "int" and found["seed"].default == 0
    assert found["seed"].help == "first data seed"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=3", 3),
        ("num_problems=None", None),
        ("num_problems=64", 64),
        ("group_sizes=[1, 2]", [1, 2]),
        ("rate=1e-3", 1e-3),
        ("rate=2", 2.0),
        ("plot=False", False),
        ("profile=smoke", "smoke"),
    ],
)
def test_texts_become_values(page, text, value):
    name, _, spelled = text.partition("=")
    assert check_parameters(page, {name: spelled}) == {name: value}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sed": "1"}, "did you mean 'seed'"),
        ({"profile": "smokee"}, "did you mean 'smoke'"),
        ({"profile": "007"}, "Expected a profile"),
        ({"seed": "1e3"}, "got '1e3'"),
        ({"seed": "007"}, "got '007'"),
        ({"seed": "1.0"}, "got '1.0'"),
        ({"seed": "[1,2]"}, "got '[1,2]'"),
        ({"seed": "True"}, "got 'True'"),
        ({"seed": "None"}, "got 'None'"),
        ({"seed": ""}, "got ''"),
        ({"seed": "-1"}, "from 0 to"),
        ({"seed": str(2**31)}, "from 0 to"),
        ({"seed": 1.0}, "got '1.0'"),
        ({"seed": True}, "got 'True'"),
        ({"num_problems": "0"}, "at least 1"),
        ({"group_sizes": "[]"}, "at least 1"),
        ({"group_sizes": "[0]"}, "at least 1"),
        ({"group_sizes": "[1, 2.5]"}, "got '[1, 2.5]'"),
        ({"group_sizes": "4"}, "got '4'"),
        ({"group_sizes": "[3]", "num_problems": "64"}, "divide num_problems = 64, got 3"),
        ({"rate": "nan"}, "got 'nan'"),
        ({"rate": "fast"}, "got 'fast'"),
        ({"plot": "yes"}, "got 'yes'"),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(page, given, words):
    with pytest.raises(InputError) as error:
        check_parameters(page, given)
    message = str(error.value)
    assert words in message and message.startswith("Expected") and "\n" not in message


@pytest.mark.parametrize(
    "cell",
    [
        "seed = 0  # no type",
        "seed: int = 0",
        "seed: int  # no default",
        "seed: int = (  # broken",
        "seed: imt = 0  # x",
    ],
)
def test_incomplete_parameter_cells_are_refused(tmp_path, cell):
    with pytest.raises(InputError, match="Expected lines such as"):
        read_parameters(write_notebook(tmp_path / "page.ipynb", parameters=cell))


def test_files_that_are_no_notebooks_are_refused(tmp_path):
    (tmp_path / "page.ipynb").write_text('{"cells": [')
    with pytest.raises(InputError, match="cannot be read"):
        read_parameters(tmp_path / "page.ipynb")


def test_all_notebooks_follow_the_conventions():
    paths = sources.list_notebooks()
    assert paths
    for path in paths:
        names = [parameter.name for parameter in read_parameters(path)]
        assert names[:2] == ["profile", "seed"], path.name
        notebook = parameters.read_notebook(path)
        assert notebook.metadata.kernelspec.name == "python3", path.name
        for cell in notebook.cells:
            assert cell.cell_type != "code" or (not cell.outputs and cell.execution_count is None), path.name


# The first code cell, for Colab


@pytest.mark.parametrize("path", sources.list_notebooks(), ids=lambda path: path.stem)
def test_the_first_code_cell_follows_the_settings_and_does_nothing_here(path, monkeypatch):
    text = path.read_text(encoding="utf-8")
    assert text == launch_cell.with_launch_cell(text, launch_cell.repository_setting()), (
        "run .venv/bin/python workflow/launch_cell.py"
    )
    first = next(cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
    assert first["id"] == launch_cell.CELL_ID and first["metadata"]["tags"] == ["remove-cell"]
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: pytest.fail("it installs something"))
    names = {}
    exec("".join(first["source"]), names)
    assert set(names) == {"find_spec", "__builtins__"}


@pytest.mark.parametrize("stem", ["01_method", "13_your_own_problem"])
def test_where_the_library_is_missing_it_is_installed_from_the_repository(stem, monkeypatch):
    text = parameters.find_notebook(stem).read_text(encoding="utf-8")
    setting = {"url": "https://example.org/owner/name/", "branch": "main"}
    new = launch_cell.with_launch_cell(text, setting)
    assert (
        launch_cell.with_launch_cell(new, setting) == new
        and launch_cell.with_launch_cell(new, launch_cell.repository_setting()) == text
    )
    commands = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    exec(
        "".join(next(cell for cell in json.loads(new)["cells"] if cell["cell_type"] == "code")["source"]), {}
    )
    program, _, _, _, _, library = commands.pop()
    assert program == sys.executable
    assert library == "jpo-lib[notebooks] @ git+https://example.org/owner/name@main"
    needed = {Requirement(line).name for line in launch_cell.PROJECT["optional-dependencies"]["notebooks"]}
    code = "\n".join(cell.source for cell in parameters.read_notebook(parameters.find_notebook(stem)).cells)
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))
    assert imported & {"matplotlib", "diffrax"} <= needed, "the extra brings what the notebook imports"
    refused = launch_cell.with_launch_cell(text, {"url": ""})
    with pytest.raises(ModuleNotFoundError, match="Expected the library jpo_lib, got none"):
        exec(
            "".join(
                next(cell for cell in json.loads(refused)["cells"] if cell["cell_type"] == "code")["source"]
            ),
            {},
        )


# Requests


def test_unknown_notebook_names_the_nearest():
    known = sources.list_notebooks()[0].stem
    with pytest.raises(InputError, match=f"did you mean '{known}'"):
        parameters.find_notebook(known + "x")
    assert parameters.find_notebook(known) == parameters.find_notebook(f"notebooks/{known}.ipynb")


def test_requests_are_checked_before_anything_starts(page, tmp_path):
    for jobs, timeout in ((0, None), (1, 0), (1, -1.0)):
        with pytest.raises(InputError):
            run_notebooks([page], {}, tmp_path / "out", jobs=jobs, timeout=timeout)
    with pytest.raises(InputError, match="once"):
        run_notebooks([page, page], {}, tmp_path / "out")
    with pytest.raises(InputError, match="seed"):
        run_notebooks([page], {"sed": 1}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_output_folder_that_is_a_file_is_refused(page, tmp_path):
    (tmp_path / "out").write_text("here first")
    with pytest.raises(InputError, match="can be written to"):
        run_notebooks([page], {}, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "here first"


@pytest.mark.parametrize(("options", "reason"), [("ro", "read-only"), ("size=256k", "no space left")])
def test_read_only_and_full_output_folders_are_refused(page, tmp_path, options, reason):
    """On a file system of its own, because permissions do not stop root."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount = f'mount -t tmpfs -o {options} tmpfs "$1" && shift && exec "$@"'
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(folder)]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    command = [sys.executable, "-m", "jpo_book.cli", "run", str(page), "--output", str(folder)]
    done = subprocess.run([*alone, *command], capture_output=True, text=True)
    assert done.returncode == 2 and reason in done.stderr.lower(), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Notebooks at the same time: one works, one fails, one takes too long, one draws nothing."""
    folder = tmp_path_factory.mktemp("a folder")
    log = 'open(__import__("os").environ["JPO_RESULTS_LOG"], "a").write({!r})'
    entry = json.dumps({"path": "_build/studies/x.nc", "sha256": "ab" * 32}) + "\n"
    works = write_notebook(
        folder / "works.ipynb",
        "import sys, time; began = time.time()",
        log.format(entry),
        log.format(entry),
        "print(seed, profile, sys.executable)",
    )
    fails = write_notebook(
        folder / "fails.ipynb", "print('fine')", "raise ValueError('two\\nlines')", "print('never')"
    )
    slow = write_notebook(folder / "slow.ipynb", "print('fine')", "import time; time.sleep(600)")
    empty = write_notebook(folder / "empty.ipynb", "'no picture'")
    notebook = nbformat.read(empty, 4)
    notebook.cells[-1].metadata["mystnb"] = {"figure": {"caption": "A figure", "name": "figure-s99"}}
    nbformat.write(notebook, empty)
    out = folder / "out"
    out.mkdir()
    (out / "empty.ipynb").write_text("the page of an earlier run")
    (out / "fails.ipynb").write_text("the page of an earlier run")
    found = {}
    for path, seconds, error in run_notebooks(
        [works, fails, slow, empty], {"seed": "7"}, out, jobs=4, timeout=20
    ):
        found[path.stem] = (seconds, error)
    return out, found


def test_only_the_complete_page_is_left(runs):
    out, _ = runs
    assert [path.name for path in out.iterdir()] == ["works.ipynb"]
    umask = os.umask(0)
    os.umask(umask)
    assert (out / "works.ipynb").stat().st_mode & 0o777 == 0o666 & ~umask


def test_errors_name_notebook_cell_and_cause(runs):
    _, found = runs
    assert found["works"][1] is None and found["works"][0] > 0
    assert (
        found["fails"][1]
        == "fails: cell 4 ('raise ValueError('two\\nlines')') failed with ValueError: two lines"
    )
    assert "slow: the cell 'import time; time.sleep(600)' took longer than 20 s" in found["slow"][1]
    assert found["empty"][1].startswith("empty: figure-s99 has no picture")


def test_the_page_is_run_by_this_python_with_the_given_values(runs):
    cells = nbformat.read(runs[0] / "works.ipynb", 4).cells
    assert cells[-2].outputs[0].text == f"7 laptop {sys.executable}\n"
    injected = [cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert len(injected) == 1 and "remove-cell" in injected[0].metadata.tags


def test_provenance_block(runs):
    text = (runs[0] / "works.ipynb").read_text()
    notebook = nbformat.reads(text, 4)
    block = notebook.cells[-1].source
    for words in (
        "{dropdown}",
        "works.ipynb",
        "`seed = 7`",
        "`laptop`",
        "Commit",
        "jax ",
        "jaxlib ",
        "numpy ",
        "Python ",
        "jpo_lib ",
        "Device",
        "Run time",
        "_build/studies/x.nc",
        "ab" * 32,
    ):
        assert words in block, words
    assert block.count("ab" * 32) == 1
    record = notebook.metadata["jpo"]
    assert (
        record["parameters"]["seed"] == 7
        and record["parameters"]["rate"] == 0.1
        and record["given"] == {"seed": 7}
    )
    assert record["results"] == [{"path": "_build/studies/x.nc", "sha256": "ab" * 32}]
    assert str(runs[0].parent) not in text.replace(sys.executable, "")
    assert "papermill" not in notebook.metadata


def test_commit(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    assert runner.commit(tmp_path) == "unknown (not run in a git clone)"
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "inside").mkdir()
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    clean = runner.commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (tmp_path / "notes.txt").write_text("no run sees it")
    assert runner.commit(tmp_path) == clean
    (tmp_path / "jpo_lib").mkdir()
    (tmp_path / "jpo_lib" / "new.py").write_text("new")
    assert runner.commit(tmp_path) == f"{clean} with uncommitted changes"
    # the clone of something else
    assert runner.commit(tmp_path / "inside") == "unknown (not run in a git clone)"


def test_commit_in_a_clone_of_somebody_else_and_without_git(tmp_path, monkeypatch):
    """Containers of CI services hand over clones of another user; git then refuses to look."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    clean = runner.commit(tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    refused = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert "dubious ownership" in refused.stderr
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    if os.getuid() == 0:
        for path in (tmp_path, *tmp_path.rglob("*")):
            os.chown(path, 12345, 12345)
    assert runner.commit(tmp_path) == clean
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runner.commit(tmp_path) == "unknown (git is not installed)"
    monkeypatch.setenv("JPO_COMMIT", "ab" * 20)
    assert runner.commit(tmp_path) == f"{'ab' * 20} (told by JPO_COMMIT)"


def test_tables_survive_any_value():
    record = {
        "notebook": "x.ipynb",
        "parameters": {"profile": "a|b`c\nd"},
        "commit": "unknown (not run in a git clone)",
        "versions": {},
        "device": "CPU",
        "seconds": 1.0,
        "results": [],
    }
    rows = [line for line in runner.provenance_block(record).splitlines() if line.startswith("|")]
    assert all(row.replace("\\|", "").count("|") == 3 for row in rows)


def test_papermill_alone_runs_a_notebook_too(page, tmp_path):
    command = [
        sys.executable,
        "-m",
        "papermill",
        "-k",
        "python3",
        "-p",
        "seed",
        "3",
        str(page),
        str(tmp_path / "out.ipynb"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert nbformat.read(tmp_path / "out.ipynb", 4).cells[-1].outputs[0].text == "3\n"


def test_output_folder_may_be_new_and_have_spaces(tmp_path):
    folder = tmp_path / "a new" / "folder"
    runner.check_output_folder(folder)
    assert Path(folder).is_dir() and not os.listdir(folder)


def test_no_label_is_given_twice():
    """Found here in a second; a build would find it after minutes."""
    found = [
        label
        for path in sorted((PACKAGE.parent / "notebooks").glob("*.ipynb"))
        for label in re.findall(
            r'(?:label=\\"|"name": ")((?:figure|table)-s?\d+)', path.read_text(encoding="utf-8")
        )
    ]
    assert len(found) > 40 and sorted(found) == sorted(set(found))
