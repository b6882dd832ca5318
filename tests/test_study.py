"""Studies: files that are found again, or refused, and always equal bit for bit."""

import functools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from jpo_book import files, studies
from jpo_book.studies import planning, pool, store
from jpo_book.studies.netcdf import read_netcdf, rounded_histories, write_netcdf
from jpo_book.studies.pool import num_processes, share


@pytest.fixture(scope="session")
def cells():
    return studies.plan("wave_packet", "smoke")


@pytest.fixture(scope="session")
def computed(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    studies.load_or_run(cells, folder, quiet=True)
    return folder


@pytest.fixture
def folder(computed, tmp_path):
    return shutil.copytree(computed, tmp_path / "studies")


def result_file(folder, cell):
    return folder / f"{cell.name}.nc"


def test_the_same_cell_twice_gives_the_same_bytes(cells, computed, tmp_path):
    studies.run_cell(cells[-1], tmp_path)
    assert result_file(tmp_path, cells[-1]).read_bytes() == result_file(computed, cells[-1]).read_bytes()


def test_manifests_keep_the_cpu_time_of_all_cores_together(cells, computed):
    for cell in cells:
        manifest = json.loads(result_file(computed, cell).with_suffix(".json").read_text())
        cores, seconds = int(manifest["machine"].split()[-2]), manifest["seconds"]
        assert (
            0 < seconds["processor"] <= 1.05 * cores * seconds["total"] + 0.05
        )  # clocks tick, and the total is rounded


def test_valid_files_are_loaded_and_not_computed(cells, folder, capsys, monkeypatch):
    monkeypatch.setattr(store, "run_cell", lambda *_: pytest.fail("computed a valid cell again"))
    loaded = studies.load_or_run(cells, folder)
    assert list(loaded) == [c.name for c in cells] and "3 of 3" in capsys.readouterr().out


def test_two_processes_compute_what_one_does_and_each_does_a_part(
    cells, computed, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("JPO_PROCESSES", "2")
    here, compute = [], studies.Cell.run

    def slowly(cell):  # in this process; helpers import the library anew
        here.append(cell.name)
        for _ in range(600):  # until the helper has had its turn: it gives an answer when it has done a cell
            if len(list(tmp_path.rglob("*.json"))) + len(here) > 1:
                break
            time.sleep(0.1)
        return compute(cell)

    monkeypatch.setattr(studies.Cell, "run", slowly)
    loaded = studies.load_or_run(cells, tmp_path)
    assert list(loaded) == [c.name for c in cells] and here[0] == cells[0].name and cells[-1].name not in here
    assert capsys.readouterr().out.count("computed ") == len(cells)
    for cell in cells:
        assert result_file(tmp_path, cell).read_bytes() == result_file(computed, cell).read_bytes()


def here():
    return multiprocessing.parent_process() is None


def killed_elsewhere(item, log):
    """As by a system that is short of memory."""
    if not here():
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    with open(log, "a") as file:
        file.write(f"{item}\n")


def wrong_elsewhere(item):
    if not here():
        raise ArithmeticError("by intention")
    time.sleep(0.1)


def endless_elsewhere(item, pipe, seconds_here=0):
    """In a helper: keep the pipe open for writing as long as it lives.

    Here: an error, once the helper is at work.
    """
    if here():
        while not Path(f"{pipe}.begun").exists():
            time.sleep(0.05)
        time.sleep(seconds_here)
        raise ArithmeticError("by intention")
    with open(pipe, "w"):
        Path(f"{pipe}.begun").touch()
        time.sleep(600)


@pytest.mark.parametrize("processes", [2, 3])
def test_what_a_helper_fails_to_do_is_done_here(monkeypatch, tmp_path, processes):
    monkeypatch.setenv("JPO_PROCESSES", str(processes))
    items, done = [str(i) for i in range(50)], []
    share(functools.partial(killed_elsewhere, log=tmp_path / "log"), items, done.append)
    assert sorted((tmp_path / "log").read_text().split()) == sorted(done) == sorted(items)
    done.clear()
    share(wrong_elsewhere, items, done.append)
    assert sorted(done) == sorted(items)
    mine = []
    share(lambda item: mine.append(item), items)  # what helpers cannot import
    assert sorted(mine) == sorted(items)


@pytest.mark.parametrize("processes, items", [(1, "ab"), (2, "a"), (2, "")])
def test_no_process_is_started_for_what_one_does(monkeypatch, processes, items):
    monkeypatch.setenv("JPO_PROCESSES", str(processes))
    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda *_: pytest.fail("started a process"))
    done = []
    share(len, list(items), done.append)
    assert done == list(items)


def reader_of_a_pipe(pipe):
    """Returns a function that waits until nobody has the pipe open for writing."""
    os.mkfifo(pipe)
    stream = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def wait():
        os.set_blocking(stream, True)
        assert os.read(stream, 1) == b""
        os.close(stream)

    return wait


def test_an_error_ends_the_helpers(monkeypatch, tmp_path):
    monkeypatch.setenv("JPO_PROCESSES", "2")
    wait = reader_of_a_pipe(tmp_path / "pipe")
    with pytest.raises(ArithmeticError):
        share(functools.partial(endless_elsewhere, pipe=tmp_path / "pipe"), ["a", "b"])
    wait()


SCRIPT = """
import functools, sys
open(sys.argv[1] + ".runs", "a").write("x")
from jpo_book.studies.pool import share
from test_study import endless_elsewhere
share(functools.partial(endless_elsewhere, pipe=sys.argv[1], seconds_here=600), ["a", "b"])
"""


def test_helpers_of_a_killed_process_end_and_do_not_run_its_script(tmp_path):
    wait = reader_of_a_pipe(tmp_path / "pipe")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    settings = {**os.environ, "JPO_PROCESSES": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    starter = subprocess.Popen([sys.executable, script, tmp_path / "pipe"], env=settings)
    while not (tmp_path / "pipe.begun").exists():
        assert starter.poll() is None
        time.sleep(0.05)
    starter.kill()
    starter.wait()
    wait()
    assert (tmp_path / "pipe.runs").read_text() == "x"


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_a_wrong_number_of_processes_is_refused(monkeypatch, text):
    monkeypatch.setenv("JPO_PROCESSES", text)
    with pytest.raises(ValueError, match="JPO_PROCESSES: expected a number"):
        num_processes()


def spoil(folder, cell, how):
    path, manifest = result_file(folder, cell), result_file(folder, cell).with_suffix(".json")
    content = json.loads(manifest.read_text())
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "one byte":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "no manifest":
        manifest.unlink()
    elif how == "no result":
        path.unlink()
    elif how == "torn manifest":
        manifest.write_text(manifest.read_text()[:50])
    elif how == "other code":
        manifest.write_text(files.sealed(json.dumps({**content, "source_hash": "0" * 64})))
    elif how == "other settings":
        other = {**content, "cell": {**content["cell"], "num_problems": 7}}
        manifest.write_text(files.sealed(json.dumps(other)))
    elif how == "changed manifest":
        manifest.write_text(manifest.read_text().replace('"num_problems": ', '"num_problems": 1'))
    elif how == "other format":
        manifest.write_text(json.dumps({"hello": 1}))


@pytest.mark.parametrize(
    "how, state",
    [
        ("truncated", "damaged"),
        ("one byte", "damaged"),
        ("changed manifest", "damaged"),
        ("no manifest", "damaged"),
        ("no result", "damaged"),
        ("torn manifest", "damaged"),
        ("other code", "stale"),
        ("other settings", "foreign"),
        ("other format", "foreign"),
    ],
)
def test_every_flaw_is_noticed(cells, folder, how, state):
    spoil(folder, cells[0], how)
    assert studies.check(cells[0], folder).partition(":")[0] == state
    assert studies.check(cells[1], folder) == "valid"


def test_damaged_files_are_computed_again_and_foreign_ones_refused(cells, folder, computed, capsys):
    spoil(folder, cells[-1], "one byte")
    studies.load_or_run(cells, folder)
    assert "again, since it was damaged" in capsys.readouterr().out
    assert result_file(folder, cells[-1]).read_bytes() == result_file(computed, cells[-1]).read_bytes()
    spoil(folder, cells[0], "other format")
    with pytest.raises(FileExistsError, match="move it away"):
        studies.load_or_run(cells, folder)


def test_a_failed_write_leaves_nothing(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(
        store.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError):
        studies.run_cell(cells[-1], tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_are_written_as_the_umask_says(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.write_atomically(tmp_path / "new" / "text", "é")
        files.write_atomically(tmp_path / "new" / "bytes", b"1", on_disk=True)
        files.write_atomically(tmp_path / "new" / "function", lambda path: path.write_text("2"))
        assert files.write_if_changed(tmp_path / "new" / "changed", "3")
        assert not files.write_if_changed(tmp_path / "new" / "changed", "3")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()}
    assert modes == dict.fromkeys(("text", "bytes", "function", "changed"), 0o666 & ~umask)
    assert (tmp_path / "new" / "text").read_bytes() == "é".encode()


def test_a_changed_setting_changes_the_name(cells):
    for change in (dict(num_problems=8, group_sizes=[1]), dict(seed=1), dict(group_sizes=[4])):
        other = {c.name for c in studies.plan("wave_packet", "smoke", **change)}
        assert other - {c.name for c in cells}
    assert {c.name for c in studies.plan("wave_packet", "smoke", group_sizes=[16])} < {c.name for c in cells}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("wave_paket", "smoke", {}), "study: expected one of"),
        (("wave_packet", "huge", {}), "profile: expected one of laptop, paper, published, smoke, got 'huge'"),
        (
            ("wave_packet", "smoke", {"group_sizes": [3]}),
            "expected divisors of the 16 problems, got 3; the nearest is 2",
        ),
        (
            ("wave_packet", "smoke", {"num_problems": 0}),
            "num_problems: expected a whole number of at least 1, got 0",
        ),
        (("wave_packet", "smoke", {"seed": -1}), "seed: expected a whole number"),
    ],
)
def test_bad_plans_are_refused(arguments, words):
    problem, profile, rest = arguments
    with pytest.raises(ValueError) as caught:
        studies.plan(problem, profile, **rest)
    assert words in str(caught.value) and "\n" not in str(caught.value)


REFERENCES = sorted((Path(__file__).resolve().parents[1] / "results").glob("*/*.nc"))


def test_all_reference_results_are_valid():
    """Their bytes, their manifests and the code that computed them:
    whoever changes that code restamps or recomputes them."""
    states = {}
    for path in REFERENCES:
        cell = studies.Cell.model_validate(json.loads(path.with_suffix(".json").read_text())["cell"])
        states[path.name] = (
            studies.check(cell, path.parents[1])
            if path.stem == Path(cell.name).name
            else "foreign: another name"
        )
    assert len(states) > 300 and {name: state for name, state in states.items() if state != "valid"} == {}


def test_files_open_with_programs_that_are_older(cells, computed):
    """Debian's ncdump, built on HDF5 1.10: a file in the newest format would be
    "bad version number for layout message"."""
    if shutil.which("ncdump") is None:
        (pytest.fail if os.environ.get("JPO_REQUIRE_BROWSER") == "1" else pytest.skip)(
            "no ncdump: install it (on Debian: apt install netcdf-bin)"
        )
    new = [result_file(computed, cell) for cell in cells]
    for path in [*REFERENCES, *new]:
        done = subprocess.run(["ncdump", "-h", str(path)], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.startswith("netcdf "), f"{path.name}: {done.stderr}"
    loss = subprocess.run(
        ["ncdump", "-v", "loss", str(new[-1])], capture_output=True, text=True, check=True
    ).stdout
    assert loss.count("data:") == 1 and " loss =" in loss


def test_combined_results_agree_with_the_cells(cells, computed):
    loaded = studies.load_or_run(cells, computed, quiet=True)
    classical, joint = studies.combine(cells, loaded)
    assert dict(joint.loss.sizes) == {
        "data_seed": 1,
        "group_size": 2,
        "solver": 3,
        "network_seed": 2,
        "problem": 16,
    }
    for cell in cells:
        part = loaded[cell.name]
        whole = classical if cell.kind == "classical" else joint.sel(group_size=cell.group_size)
        np.testing.assert_array_equal(whole.loss.sel(data_seed=cell.data_seed), part.loss)
    history = joint.loss_history.transpose(..., "evaluation").values
    assert np.all(np.diff(history, axis=-1) <= 0)
    np.testing.assert_allclose(history[..., -1], joint.loss, rtol=1 / 512)
    # Refinement never loses what was found, and its evaluations include the training.
    assert bool((joint.loss.sel(solver="JointRefined") <= joint.loss.sel(solver="Joint")).all())
    assert bool(
        (joint.num_evaluations.sel(solver="JointRefined") > joint.num_evaluations.sel(solver="Joint")).all()
    )


VARIED = {
    "problem": "wave_packet",
    "num_problems": 8,
    "group_sizes": [8],
    "num_data_seeds": 1,
    "num_network_seeds": 1,
    "joint": {"num_steps": 3},
    "variants": {
        "as it is": {},
        "one input less": {"joint": {"inputs": "identifiers"}},
        "more noise": {"settings": {"noise": 0.2}, "group_sizes": [1, 8]},
    },
}


def test_variants_that_leave_the_problem_as_it_is_share_the_classical_results(monkeypatch):
    monkeypatch.setattr(planning, "STUDIES", ["varied"])
    monkeypatch.setattr(planning, "load_profile", lambda profile: {"varied": VARIED})
    cells = studies.plan("varied", "smoke")
    assert [(c.kind, c.variant, c.group_size) for c in cells] == [
        ("classical", "", None),
        ("joint", "as it is", 8),
        ("joint", "one input less", 8),
        ("classical", "more noise", None),
        ("joint", "more noise", 1),
        ("joint", "more noise", 8),
    ]
    assert cells[2].options == {"num_steps": 3, "inputs": "identifiers"} and cells[5].settings == {
        "noise": 0.2
    }
    loaded = {
        c.name: store.xr.Dataset({"loss": ("problem", np.full(8, float(k)))}) for k, c in enumerate(cells)
    }
    combined = studies.combine_variants(cells, loaded)
    assert {name: float(classical.loss.mean()) for name, (classical, _) in combined.items()} == {
        "as it is": 0,
        "one input less": 0,
        "more noise": 3,
    }
    assert combined["more noise"][1].loss.mean("problem").values.tolist() == [[4.0, 5.0]]
    assert combined["one input less"][1].loss.dims == ("data_seed", "group_size", "problem")


def test_a_variant_that_changes_something_unknown_is_refused(monkeypatch):
    monkeypatch.setattr(planning, "STUDIES", ["varied"])
    monkeypatch.setattr(
        planning,
        "load_profile",
        lambda profile: {"varied": {**VARIED, "variants": {"wrong": {"sizes": [1]}}}},
    )
    with pytest.raises(
        ValueError,
        match="expected a variant that changes settings, joint, classical, group_sizes, got \\['sizes'\\]",
    ):
        studies.plan("varied", "smoke")


def test_reference_results_are_taken_where_results_are_missing_and_nowhere_else(
    cells, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(store, "reference_folder", lambda: folder)
    spoil(folder, cells[0], "one byte")
    place = tmp_path / "new"
    assert studies.adopt(cells, place) == len(cells) - 1
    assert [studies.check(c, place) for c in cells] == ["missing"] + ["valid"] * (len(cells) - 1)
    spoil(place, cells[1], "one byte")
    assert studies.adopt(cells, place) == 0 and studies.check(cells[1], place).startswith("damaged")


@pytest.mark.parametrize("name", ["wave_packet", "billiards", "kuramoto_sivashinsky", "navier_stokes"])
def test_the_paper_profile_has_enough_seeds_and_problems_for_the_main_figures(name):
    profile = studies.load_profile("paper")
    for settings in (profile[name], profile[f"{name}_cost"]):
        assert (
            settings["num_network_seeds"] >= 5
            and settings["num_data_seeds"] >= 2
            and settings["num_problems"] >= 256
        )


@pytest.mark.parametrize(
    "name",
    [
        "wave_packet",
        "billiards",
        "kuramoto_sivashinsky",
        "navier_stokes",
        "wave_packet_cost",
        "billiards_cost",
    ],
)
def test_the_laptop_profile_has_enough_seeds_for_a_verdict(name):
    from jpo_book.analysis.rules import LEAST_DATA_SEEDS, LEAST_NETWORK_SEEDS

    settings = studies.load_profile("laptop")[name]
    assert (
        settings["num_network_seeds"] >= LEAST_NETWORK_SEEDS
        and settings["num_data_seeds"] >= LEAST_DATA_SEEDS
    )


def test_a_mixed_profile_takes_complete_reference_results_and_else_the_last_profile(
    cells, computed, tmp_path, monkeypatch
):
    """`published` with the smoke profile in the place of `paper`, whose results are here."""
    mixed = {"first_of": ["smoke", "laptop"]}
    read = planning._read_profile
    monkeypatch.setattr(planning, "_read_profile", lambda name: mixed if name == "published" else read(name))
    monkeypatch.setattr(planning, "reference_folder", lambda: computed)
    assert studies.plan("wave_packet", "published") == cells
    assert studies.plan("wave_packet", "published", seed=1) == studies.plan(
        "wave_packet", "laptop", seed=1
    )  # other data are not there
    assert studies.plan("billiards", "published") == studies.plan("billiards", "laptop")
    profile = studies.load_profile("published")
    assert (
        profile["wave_packet"] == read("smoke")["wave_packet"]
        and profile["billiards"] == read("laptop")["billiards"]
    )
    incomplete = shutil.copytree(computed, tmp_path / "incomplete")
    result_file(incomplete, cells[0]).unlink()
    monkeypatch.setattr(planning, "reference_folder", lambda: incomplete)
    assert studies.plan("wave_packet", "published") == studies.plan("wave_packet", "laptop")


def test_histories_are_rounded_to_nine_bits(cells, computed):
    results = read_netcdf(result_file(computed, cells[-1]))
    history, loss = results.loss_history.values, results.loss.values
    mantissa = np.frexp(history[np.isfinite(history)])[0] * 512
    np.testing.assert_array_equal(mantissa, np.round(mantissa))
    np.testing.assert_allclose(history[..., -1], loss, rtol=1 / 512)
    assert (history[..., -1] != loss).any()


def test_result_files_keep_every_bit_and_are_the_same_each_time(tmp_path):
    rng = np.random.default_rng(0)
    results = xr.Dataset(
        {
            "loss": (("solver", "problem"), rng.normal(size=(2, 100)).astype(np.float32)),
            "solved": (("solver", "problem"), rng.random((2, 100)) < 0.5),
            "loss_history": (("solver", "problem", "evaluation"), rng.normal(size=(2, 100, 5))),
            "count": ("problem", rng.integers(0, 9, 100)),
            "wide": ("problem", np.full(100, np.inf)),
            "number": ((), 3.5),
        },
        coords={"solver": ["BFGS", "Joint"]},
        attrs={"format": "text"},
    )
    for name in ("a.nc", "b.nc"):
        write_netcdf(results, tmp_path / name)
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()
    read = read_netcdf(tmp_path / "a.nc")
    assert read.loss_history.dims == results.loss_history.dims
    assert read.identical(results) and all(read[name].dtype == results[name].dtype for name in results)
    assert xr.load_dataset(tmp_path / "a.nc").transpose(..., "evaluation").identical(results), (
        "others find the same by the names of dimensions"
    )


@given(st.floats(1e-30, 1e30))
def test_histories_are_rounded_to_one_part_in_512(value):
    results = xr.Dataset({"loss_history": ("evaluation", np.array([value, np.inf, 0.0]))})
    rounded = rounded_histories(results).loss_history.values
    assert abs(rounded[0] / value - 1) <= 1 / 512 and rounded[1] == np.inf and rounded[2] == 0.0
    np.testing.assert_array_equal(rounded_histories(rounded_histories(results)).loss_history, rounded)
