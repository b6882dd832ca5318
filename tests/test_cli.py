"""The command `jpo`: right requests work, wrong ones get one sentence and exit code 2."""

import subprocess
import sys

import pytest

from jpo_book import cli
from jpo_book.run import parameters, sources

FIRST = sources.list_notebooks()[0].stem


def jpo(monkeypatch, capsys, *arguments):
    """Run the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["jpo", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    captured = capsys.readouterr()
    return end.value.code or 0, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runn"], "No such command 'runn'"),
        (["run", "--jbos", "2"], "No such option"),
        (["run", FIRST + "x"], f"did you mean '{FIRST}'"),
        (["run", "no/such/file.ipynb"], "Expected a notebook"),
        (["run", FIRST, "--profile", "smke"], "did you mean 'smoke'"),
        (["run", FIRST, "-p", "profile=smke"], "did you mean 'smoke'"),
        (["run", FIRST, "--profile", "smoke", "-p", "profile=paper"], "profile once"),
        (["run", FIRST, "-p", "sed=1"], "did you mean 'seed'"),
        (["run", FIRST, "-p", "seed"], "NAME=VALUE"),
        (["run", FIRST, "-p", "seed=1", "-p", "seed=2"], "seed twice"),
        (["run", FIRST, "-p", "seed=1e3"], "got '1e3'"),
        (["run", FIRST, "-p", "seed=007"], "got '007'"),
        (["run", FIRST, "-p", "seed=[1,2]"], "got '[1,2]'"),
        (["run", FIRST, "-p", "seed=-1"], "from 0 to"),
        (["run", FIRST, "--jobs", "0"], "at least 1 job"),
        (["run", FIRST, "--jobs", "two"], "--jobs"),
        (["run", FIRST, "--timeout", "-3"], "time-out above 0"),
        (["run", FIRST, "--output", __file__], "can be written to"),
        (["study", "wavepacket"], "did you mean 'wave_packet'"),
        (["study", "wave_packet", "--profile", "lptop"], "did you mean 'laptop'"),
        (["study", "wave_packet", "-p", "seed=x"], "got 'x'"),
        (["study", "wave_packet", "-p", "num_problems=0"], "at least 1"),
        (["study", "wave_packet", "-p", "num_problems=64", "-p", "group_sizes=[3]"], "divide"),
        (["study", "wave_packet", "-p", "rate=1"], "Expected a parameter of a study"),
        (["study", "wave_packet", "--profile", "smoke", "--cell", "nothing"], "Expected a cell of the plan"),
        (["study", "wave_packet", "--profile", "smoke", "--folder", __file__], "can be written to"),
        (
            ["verify", "wave_packet", "--profile", "smoke", "--folder", "/nonexistent"],
            "got none that took at most 120 s: choose another",
        ),
    ],
)
def test_wrong_requests(monkeypatch, capsys, arguments, words):
    code, out, err = jpo(monkeypatch, capsys, *arguments)
    assert code == 2 and words in err, err
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err and not out


def test_help_waits_for_no_heavy_library():
    done = subprocess.run([sys.executable, "-m", "jpo_book.cli", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("run", "notebooks", "study", "claims", "verify"))
    heavy = (
        "import sys, jpo_book.cli; "
        "print([m for m in ('jax', 'scipy', 'papermill', 'xarray') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout.strip() == "[]"
    )


def test_version(monkeypatch, capsys):
    code, out, _ = jpo(monkeypatch, capsys, "--version")
    assert code == 0 and out.startswith("jpo 0.")


def test_notebooks_are_listed(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = jpo(monkeypatch, capsys, "notebooks")
    assert code == 0
    for path in sources.list_notebooks():
        assert path.stem in out
        assert all(parameter.help in out for parameter in parameters.read_parameters(path))


def test_a_wrong_request_as_a_process_of_its_own(tmp_path):
    command = [
        sys.executable,
        "-m",
        "jpo_book.cli",
        "run",
        FIRST,
        "-p",
        "seed=-1",
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_study_cells_are_listed(monkeypatch, capsys, tmp_path):
    code, out, _ = jpo(monkeypatch, capsys, "study", "--profile", "smoke", "--list", "--folder", tmp_path)
    lines = [line.split("\t") for line in out.splitlines()]
    assert code == 0 and lines and all(state == "missing" for _, state in lines)


def test_a_study_advises_an_option_that_it_has(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    request = ["study", "wave_packet", "--profile", "smoke", "--folder", tmp_path / "file"]
    code, _, err = jpo(monkeypatch, capsys, *request)
    assert code == 2 and "choose another folder with --folder." in err


def test_study_runs_once_and_can_be_verified(monkeypatch, capsys, tmp_path):
    _, out, _ = jpo(
        monkeypatch, capsys, "study", "wave_packet", "--profile", "smoke", "--list", "--folder", tmp_path
    )
    cell = out.split("\t")[0]
    request = ["study", "wave_packet", "--profile", "smoke", "--cell", cell, "--folder", tmp_path]
    code, out, err = jpo(monkeypatch, capsys, *request)
    assert code == 0 and cell in out, err
    before = (tmp_path / f"{cell}.nc").stat().st_mtime_ns
    code, out, _ = jpo(monkeypatch, capsys, *request)
    assert code == 0 and "is there" in out and (tmp_path / f"{cell}.nc").stat().st_mtime_ns == before
    with monkeypatch.context() as read_only:
        read_only.setattr(
            cli.runner, "check_output_folder", lambda *_: pytest.fail("nothing is to be written")
        )
        assert jpo(read_only, capsys, *request)[:2] == (0, out)
    code, out, err = jpo(
        monkeypatch, capsys, "verify", "wave_packet", "--profile", "smoke", "--folder", tmp_path
    )
    assert code == 0 and "equal bit for bit" in out, out + err
