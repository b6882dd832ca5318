"""The harness of the benchmarks on tiny cases, and the reading of times.
Nothing here asserts how long something takes."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

import jpo_lib as jpo
from benchmarks import __main__ as command
from benchmarks import harness
from benchmarks import navier_stokes as flows
from benchmarks.accuracy import judge
from benchmarks.cases import CASES, Case, Peer
from jpo_book import measure, studies, words
from jpo_book.pages import benchmarks, run_time
from jpo_book.studies.manifest import read_manifest
from jpo_lib.problems.navier_stokes import STABILITY_LIMIT, cfl_number

TINY = Case(
    "tiny",
    "loss and gradient",
    "kuramoto_sivashinsky:ours",
    (
        Peer("bare transforms", "kuramoto_sivashinsky:floor_side", {"at_most": 1.5}),
        Peer("software that is not there", "navier_stokes:not_there", {"at_least": 2.0}),
    ),
    {"batch": 256},
    {"batch": 2},
    "kuramoto_sivashinsky:reference",
)


@pytest.fixture(scope="module")
def rows():
    return harness.run_case(TINY, quick=True, turns=3, seconds=0.0, say=lambda text: None)


def test_a_case_gives_a_row_for_each_other_side(rows):
    assert [row["beside"] for row in rows] == [peer.name for peer in TINY.peers]
    row = rows[0]
    assert row["arguments"] == {"batch": 2} and row["ours"]["count"] == 2
    assert row["ours"]["turns"] == row["peer"]["turns"] == 3
    assert row["ours"]["low"] <= row["ours"]["seconds"] <= row["ours"]["high"]
    assert row["processor_ratio"] > 0
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"] and row["reached"] == (row["ratio"] <= 1.5)


@pytest.mark.parametrize("batch", [1, 64])
def test_the_flows_take_steps_that_are_stable_with_all_schemes(batch):
    """Else round-off grows, and what is measured is no accuracy of either side."""
    numbers = [
        float(cfl_number(jnp.asarray(field, jnp.float32), flows.DT)) for field in flows.vorticity(batch)
    ]
    assert max(numbers) < min(STABILITY_LIMIT.values())


def test_accuracy_is_measured_against_smaller_steps_in_float64(rows):
    """The reference takes other steps: the error is small, and it is not zero."""
    accuracy = rows[0]["ours"]["accuracy"]
    assert accuracy.keys() == {"loss", "gradient"}
    assert 1e-9 < accuracy["loss"] < 1e-2 and 1e-9 < accuracy["gradient"] < 1e-2
    assert re.fullmatch(r"relative error: gradient \S+, loss \S+", rows[0]["ours"]["accuracy_text"])


def test_a_side_that_cannot_run_is_said_and_the_others_are_measured(rows):
    row = rows[1]
    assert row["peer"] is None and row["ratio"] is None and row["reached"] is None
    assert "not_there" in row["note"] and row["ours"]["seconds"] == rows[0]["ours"]["seconds"]


def test_sides_take_turns_and_a_failing_one_is_left_out():
    calls, failures = [], {}

    def side(name, fails_at=None):
        def run():
            calls.append(name)
            if calls.count(name) == fails_at:
                raise harness.SideFailed("it broke")
            return float(len(calls))

        return run

    times = harness.take_turns(
        {"a": side("a"), "b": side("b"), "c": side("c", fails_at=2)}, 4, 100.0, failures
    )
    assert "".join(calls) == "abcabcabab" and times.keys() == {"a", "b"} and failures == {"c": "it broke"}
    assert len(times["a"]) == len(times["b"]) == 4
    assert len(harness.take_turns({"a": side("a")}, 9, 0.0, {})["a"]) == 3, (
        "three turns, however little time there is"
    )


def test_ratios_point_the_way_of_their_target():
    faster = harness.empty_row("n", "t", target={"at_least": 2.0})
    harness.compare(faster, [1.0, 3.0, 4.0])
    assert (faster["ratio"], faster["reached"]) == (3.0, True)
    longer = harness.empty_row("n", "t", target={"at_most": 1.5})
    harness.compare(longer, [0.5, 0.5, 1.0])  # there half the time: here twice as long
    assert (longer["ratio"], longer["reached"]) == (2.0, False)


def test_relative_error_is_that_of_the_definition():
    reference = {"a": np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])}
    text, numbers = judge(
        {"a": reference["a"] + [[0.5, 0.0], [0.0, 0.2], [0.0, 0.4]], "b": np.zeros(3)}, reference
    )
    assert (
        numbers == {"a": pytest.approx(0.1)} and text == "relative error: a 1.0e-01"
    )  # median of 0.1, 0.1, 0.4


def test_the_file_is_read_back_and_shown(rows, tmp_path):
    described = harness.machine()
    assert re.fullmatch(r"[a-z0-9-]+", described["name"])
    scaling = [measure.measure(jpo.wave_packet(), "evaluation", 4, repeats=2)]
    path = harness.write(
        tmp_path / f"{described['name']}.json", rows, scaling, quick=True, described=described
    )
    assert json.loads(path.read_text())["scaling"] == scaling
    (benchmark,) = benchmarks.read_benchmarks(tmp_path)
    shown = benchmarks.benchmark_rows(benchmark)
    assert [len(row) for row in shown] == [len(benchmarks.BENCHMARK_HEADER)] * 2
    assert (
        shown[0][2] in ("≤ 1.5, yes", "≤ 1.5, **no**")
        and shown[0][3] == f"{words.duration(rows[0]['ours']['seconds'])}; {rows[0]['ours']['accuracy_text']}"
    )
    assert shown[0][4].startswith(f"{rows[0]['beside']}: {words.duration(rows[0]['peer']['seconds'])}")
    assert shown[0][1].startswith(f"{rows[0]['ratio']:.3g}") and shown[1][1] == ""
    text = str(benchmarks.benchmark_tables([benchmark], label="table-x").data)
    assert ":name: table-x" in text and "short version" in text and rows[1]["note"] in text


def test_what_misses_its_target_gets_its_own_reason_and_nothing_else_does():
    missed, other, reached = (
        harness.empty_row(name, name, target={"at_most": 1.0}, reached=reached)
        for name, reached in (("a", False), ("b", False), ("a", True))
    )
    benchmark = {
        "rows": [missed, other, reached],
        "machine": {"name": "here", "device": "CPU", "cores": 2},
        "quick": False,
        "created": "2000-01-01",
        "versions": {},
        "findings": [{"name": "a", "beside": "", "measured": "1999-12-31T00:00", "text": "because"}],
    }
    shown = str(benchmarks.benchmark_tables([benchmark], label="table-x").data)
    assert "Why 2 targets are missed on here" in shown and shown.count("because") == 1
    assert "*a:* because (Measured 1999-12-31.)" in shown
    assert "*b:* The reason has not been measured." in shown


def test_a_further_run_keeps_what_was_found_out(tmp_path):
    described = {"name": "here", "device": "CPU", "cores": 2}
    path = harness.write(tmp_path / "here.json", [], [], quick=True, described=described)
    content = json.loads(path.read_text())
    assert content["findings"] == []
    harness.write_json(path, {**content, "findings": [{"text": "because"}]})
    harness.write(path, [], [], quick=True, described=described)
    assert json.loads(path.read_text())["findings"] == [{"text": "because"}]


def test_accelerators_stand_beside_the_processor():
    def file(name, device, n, seconds):
        rows = [
            {"problem": "billiards", "work": "evaluation", "n": size, "seconds": value}
            for size, value in ((1, 1.0), (n, seconds))
        ]
        return {
            "machine": {"name": name, "device": device},
            "versions": {"jax": "1.2"},
            "scaling": rows,
            "rows": [],
        }

    processor, card = file("amd", "AMD, CPU", 256, 6e-6), file("h", "NVIDIA H, GPU", 4096, 1.5e-6)

    def said(*files):
        return str(benchmarks.accelerator_sentences(files).data)

    assert "billiards 1.5 µs (N = 4096, 4 times as fast)" in said(processor, card)
    assert "billiards 1.5 µs (N = 4096)." in said(card)
    assert "No accelerator" in said(processor)
    # Nothing was measured beside other software there.
    assert ":name:" not in str(benchmarks.benchmark_tables([card], label="table-x").data)


def test_files_of_something_else_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"format": "other"}')
    with pytest.raises(ValueError, match=r"a\.json: expected a benchmark in the format"):
        benchmarks.read_benchmarks(tmp_path)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    path, calls = tmp_path / "machine.json", []

    def measure(name):
        return lambda: calls.append(name) or [{"name": name}]

    first = command.Unfinished(path, quick=True)
    assert first.part("a", measure("a"), print) == [{"name": "a"}]
    again = command.Unfinished(path, quick=True)
    assert again.part("a", measure("a"), print) == [{"name": "a"}] and again.part(
        "b", measure("b"), print
    ) == [{"name": "b"}]
    assert calls == ["a", "b"]
    assert command.Unfinished(path, quick=False).parts == {}, "a run of another length measures anew"
    path.write_text("damaged")
    assert command.Unfinished(path, quick=True).parts == {}


def test_names_of_cases_are_unique_and_mistakes_are_refused(capsys):
    assert len({case.name for case in CASES}) == len(CASES)
    with pytest.raises(SystemExit):
        command.parse(["--only", "biliards"])
    assert "did you mean 'billiards'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.parse(["--machine", "My Host.local"])


def test_committed_results_are_files_of_benchmarks_without_names_of_hosts():
    for benchmark in benchmarks.read_benchmarks():
        assert re.fullmatch(r"[a-z0-9-]+", benchmark["machine"]["name"])
        assert benchmark["scaling"]
        if benchmarks.on_cpu(benchmark):
            assert {row["name"] for row in benchmark["rows"]} >= {
                case.name for case in CASES if case.in_quick
            }
        found = {(one["name"], one["beside"]) for one in benchmark["findings"] if one["text"]}
        for row in benchmark["rows"]:
            assert row["ratio"] is not None or row["peer"] is None
            assert row["reached"] is None or row["target"] is not None
            if row["reached"] is False and not benchmark["quick"]:
                assert (row["name"], row["beside"]) in found, f"{row['name']}: nothing says why it is missed"


# --- times of studies ---------------------------------------------------------------------------------------


def test_costs_come_from_the_manifests(tmp_path):
    """Refined solutions include the training, which is shared by all problems of a group,
    also by those not reported."""
    cells = studies.plan("wave_packet", "smoke", num_problems=4, group_sizes=[4])
    rows = run_time.cost_rows({"waves": cells}, tmp_path)
    table = run_time.cost_table(rows, label="table-x", caption="Cost")
    shown, data = str(table.data), table._repr_csv_()
    assert f"Cost. All on: {rows[0][-1]}" in shown and "hardware" not in shown
    assert data is not None and rows[0][-1] in data
    mixed_rows = [rows[0], [*rows[1][:-1], "another machine"]]
    mixed = str(run_time.cost_table(mixed_rows, label="table-x", caption="Cost").data)
    assert "hardware" in mixed and "All on" not in mixed
    by_method = {row[1]: row for row in rows}
    joint = next(cell for cell in cells if cell.kind == "joint")
    manifest = read_manifest(joint, tmp_path)
    runs = len(joint.network_seeds)
    own, training = (manifest["seconds"][f"{name}.run"] / (4 * runs) for name in ("JointRefined", "Joint"))
    assert run_time.seconds_per_problem(joint, manifest["seconds"], "JointRefined") == pytest.approx(
        own + training
    )
    assert by_method["JPO, refined"][5] == words.duration(own + training) and by_method["JPO"][2:5] == [
        "4",
        "4",
        "41",
    ]
    assert by_method["BFGS"][2] == "" and len(rows) == 8
    wide = joint.model_copy(update={"group_size": 16})
    assert run_time.seconds_per_problem(wide, manifest["seconds"], "JointRefined") == pytest.approx(
        own + training / 4
    )


def test_a_missing_manifest_is_named(tmp_path):
    (cell, *_) = studies.plan("wave_packet", "smoke", seed=77)
    with pytest.raises(FileNotFoundError, match="expected the manifest of a computed study"):
        read_manifest(cell, tmp_path)


def test_unknown_work_is_refused():
    with pytest.raises(ValueError, match="expected one of evaluation, training, solution"):
        measure.measure(jpo.wave_packet(), "training a network", 4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs"), (3e-9, "3 ns"), (250.0, "250 s")],
)
def test_durations_have_a_unit_that_fits(seconds, text):
    assert words.duration(seconds) == text
