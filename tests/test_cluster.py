"""Studies on a cluster: the real workflow through a second executor, requests for time and memory, and the settings of each executor.

The cluster of these tests is a script that starts jobs in the background, in a session of their own, and tells their state.
"""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from conftest import ROOT

from jpo_book import studies
from jpo_book.files import reference_folder
from jpo_book.pages import cost_estimate, cost_pages
from jpo_book.studies import workflow_plan
from jpo_book.studies.manifest import cores_of, hardware, read_manifest

sys.path.insert(0, str(ROOT / "workflow"))
import build
import inputs

# Cheap ones: BFGS alone, and two trainings that share their compiled programs.
CELLS = [
    c
    for c in studies.plan("wave_packet_ablations", "smoke")
    if c.kind == "classical" or c.variant in ("default", "adam-10")
]
JOINT = next(c for c in CELLS if c.kind == "joint")

# submit SCRIPT prints a number; status NUMBER prints what became of it. A job that was killed leaves no exit code.
CLUSTER = """
import os, subprocess, sys, time
import psutil
jobs = os.path.dirname(os.path.abspath(__file__))
if sys.argv[1] == "submit":
    command = 'sh "$1"; echo $? > "$2/$$.new"; mv "$2/$$.new" "$2/$$.code"'
    with open(os.path.join(jobs, "output"), "ab") as output:
        job = subprocess.Popen(["sh", "-c", command, "job", sys.argv[2], jobs], start_new_session=True,
                               stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    open(os.path.join(jobs, f"{job.pid}.started"), "w").close()
    print(job.pid)
else:
    code = os.path.join(jobs, f"{sys.argv[2]}.code")
    alive = psutil.pid_exists(int(sys.argv[2])) and psutil.Process(int(sys.argv[2])).status() != psutil.STATUS_ZOMBIE
    ended = os.path.exists(code)
    print(("success" if open(code).read().strip() == "0" else "failed") if ended else "running" if alive else "failed")
"""


@pytest.fixture
def cluster(tmp_path):
    """A folder with the plan of three cells, each a job of its own, and the settings of an executor that runs one job at a time."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "cluster.py").write_text(CLUSTER)
    command = f"{sys.executable} {jobs / 'cluster.py'}"
    settings = {
        "executor": "cluster-generic",
        "jobs": 1,
        "scheduler": "greedy",
        "keep-going": True,
        "rerun-incomplete": True,
        "cluster-generic-submit-cmd": f"{command} submit",
        "cluster-generic-status-cmd": f"{command} status",
        "max-status-checks-per-second": 5,
        "seconds-between-status-checks": 1,
    }
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "plan.json").write_text(json.dumps(planned()))
    return tmp_path


def planned():
    return [
        {
            "name": c.name,
            "study": c.study,
            "problem": c.problem,
            "source": studies.source_hash(c.problem, c.kind),
            "batch": c.name,
            "state": "missing",
        }
        for c in CELLS
    ]


def snakemake(folder, profile, *arguments, **options):
    """The workflow's studies, with all that it writes below `folder`."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ROOT / "workflow" / "Snakefile",
        "--nolock",
        "--workflow-profile",
        profile,
        *arguments,
        "--config",
        "profile=smoke",
        "plan=plan.json",
        "gpus=1",
        "--",
        "studies",
    ]
    env = {**os.environ, "JPO_STUDIES": str(folder / "studies")}
    env.pop("JPO_BUILD", None)
    return subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


def states(folder):
    return {cell.name: studies.check(cell, folder / "studies") for cell in CELLS}


def contents(folder, names):
    return {
        name: [(folder / "studies" / f"{name}{ending}").read_bytes() for ending in (".nc", ".json")]
        for name in names
    }


def working(group):
    """Whether a process of this group computes a study."""
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            if os.getpgid(process.pid) == group and "jpo_book.cli" in (process.info["cmdline"] or []):
                return True
        except ProcessLookupError:
            continue
    return False


def test_a_killed_job_is_repeated_and_nothing_finished_is_computed_again(cluster):
    build = snakemake(cluster, cluster / "profile")
    give_up = time.monotonic() + 300
    killed = None
    while killed is None and build.poll() is None and time.monotonic() < give_up:
        time.sleep(0.1)
        ended = list(
            (cluster / "jobs").glob("*.code")
        )  # a job whose result is there may not have ended yet: not that one
        running = [
            int(path.stem)
            for path in (cluster / "jobs").glob("*.started")
            if not path.with_suffix(".code").exists()
        ]
        if ended and running and working(running[0]):
            time.sleep(1.0)
            os.killpg(running[0], signal.SIGKILL)
            killed = running[0]
            at_kill = states(cluster)
    output, _ = build.communicate(timeout=300)
    assert killed is not None and build.returncode != 0, output[-3000:]
    assert not working(killed)
    # Whatever the moment of the kill: a file is complete and valid, or it is not there.
    after = states(cluster)
    assert set(at_kill.values()) <= {"valid", "missing"} and set(after.values()) == {"valid", "missing"}, (
        at_kill,
        after,
    )
    finished = [name for name, state in after.items() if state == "valid"]
    before, submitted = contents(cluster, finished), len(list((cluster / "jobs").glob("*.started")))

    resumed = snakemake(cluster, cluster / "profile")
    output, _ = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, output[-3000:] + (cluster / "jobs" / "output").read_text()[-3000:]
    assert set(states(cluster).values()) == {"valid"}
    assert contents(cluster, finished) == before
    assert len(list((cluster / "jobs").glob("*.started"))) == submitted + len(CELLS) - len(finished)


# --- the settings of the executors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["local", "slurm", "kubernetes"])
def test_snakemake_understands_the_settings_and_jobs_ask_for_what_was_planned(tmp_path, name, monkeypatch):
    monkeypatch.setenv("JPO_EXECUTOR", str(ROOT / "workflow" / "profiles" / name))
    asked = {"minutes": 70, "memory_mb": 5555}
    (tmp_path / "plan.json").write_text(json.dumps([{**cell, "requests": asked} for cell in planned()]))
    dry = snakemake(tmp_path, ROOT / "workflow" / "profiles" / name, "--dry-run")
    output, _ = dry.communicate(timeout=120)
    assert dry.returncode == 0, output[-3000:]
    jobs = [line for line in output.splitlines() if line.strip().startswith("resources:")]
    own = [line for line in jobs if "mem_mb=5555" in line]
    assert len(own) == len(CELLS)
    assert all(f"runtime={inputs.START_MINUTES + 70}" in line and "gpu=1" in line for line in own)
    if name != "local":
        assert all("cpus_per_task=4" in line for line in own)


def test_executors_are_found_by_name_or_folder():
    assert build.Place("local", "0").here and not build.Place("slurm", "1").here
    own = build.Place(str(ROOT / "workflow" / "profiles" / "kubernetes"), "0")
    assert own.folder.name == "kubernetes" and not own.here
    assert build.Place("local", "1").options()[-2:] == [
        "--resources",
        "gpu=1",
    ]  # studies take turns on the GPU of this machine
    assert "--resources" not in build.Place("slurm", "1").options()


@pytest.mark.parametrize(
    "executor, gpus, message",
    [
        ("slrum", "0", "did you mean EXECUTOR=slurm?"),
        ("q", "0", "use one of kubernetes, local, slurm"),
        ("./nowhere", "0", "expected a folder with a config.yaml as EXECUTOR"),
        ("slurm", "one", "expected the number of GPUs"),
        ("slurm", "-1", "expected the number of GPUs"),
    ],
)
def test_wrong_executors_are_refused_in_one_sentence(executor, gpus, message):
    with pytest.raises(build.Failure, match="^expected .*") as failure:
        build.Place(executor, gpus)
    assert message in str(failure.value) and "\n" not in str(failure.value)


KUBECTL = """#!/bin/sh
echo "$@" >> "{folder}/calls"
case "$1" in
  create) cat > "{folder}/manifest.yaml"; printf jpo-abc;;
  get) cat "{folder}/answer"; [ ! -s "{folder}/error" ] || {{ cat "{folder}/error" >&2; exit 1; }};;
esac
"""


@pytest.fixture
def kubernetes(tmp_path):
    """job.py beside a kubectl that writes down what it is asked for and answers as told."""
    (tmp_path / "kubectl").write_text(KUBECTL.format(folder=tmp_path))
    (tmp_path / "kubectl").chmod(0o755)

    def call(*arguments, answer="", error=""):
        (tmp_path / "answer").write_text(answer)
        (tmp_path / "error").write_text(error)
        env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        job = ROOT / "workflow" / "profiles" / "kubernetes" / "job.py"
        return subprocess.run(
            [job, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        ).stdout.strip()

    return call


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_kubernetes_job_asks_for_what_the_study_needs(kubernetes, tmp_path, gpus):
    asked = ["--cpus", "4", "--memory-mb", "5000", "--minutes", "90", "--gpus", str(gpus)]
    assert kubernetes("submit", *asked, "a script.sh") == "jpo-abc"
    spec = yaml.safe_load((tmp_path / "manifest.yaml").read_text())["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert spec["activeDeadlineSeconds"] == 90 * 60 and spec["backoffLimit"] == 0
    assert container["command"] == ["sh", str(tmp_path / "a script.sh")]
    assert container["resources"]["requests"] == {"cpu": "4", "memory": "5000M"}
    assert container["resources"]["limits"] == {"memory": "5000M"} | ({"nvidia.com/gpu": "2"} if gpus else {})
    assert (
        container["volumeMounts"][0]["mountPath"] == container["workingDir"] == str(tmp_path)
    )  # the clone, at the same place


@pytest.mark.parametrize(
    "answer, error, state",
    [
        ("/", "", "running"),
        ("1/", "", "success"),
        ("/1", "", "failed"),
        ("", "Error from server (NotFound): no such job", "failed"),
        ("", "Unable to connect to the server", "running"),
    ],
)
def test_the_state_of_a_kubernetes_job(kubernetes, answer, error, state):
    assert kubernetes("status", "jpo-abc", answer=answer, error=error) == state


def test_kubernetes_jobs_are_cancelled_by_their_names(kubernetes, tmp_path):
    kubernetes("jpo-abc", "jpo-def")
    assert (tmp_path / "calls").read_text().split()[:2] == ["delete", "job"] and "jpo-abc jpo-def" in (
        tmp_path / "calls"
    ).read_text()


# --- what studies are expected to cost --------------------------------------------------------------------------------


def cell(**changes):
    return JOINT.model_copy(
        update={
            "num_problems": 64,
            "group_size": 16,
            "network_seeds": (0, 1),
            "options": {"num_steps": 100},
            **changes,
        }
    )


@pytest.mark.parametrize(
    "changes, training, solving",
    [
        ({"network_seeds": (0, 1, 2, 3)}, 2, 2),
        ({"num_problems": 128}, 2, 2),
        ({"options": {"num_steps": 300}}, 3, 1),
        (
            {"group_size": 64},
            1,
            1,
        ),  # one network instead of four, each of whose steps has four times as many problems
        ({"options": {"num_steps": 100, "batch_size": 4}}, 1 / 4, 1),
        (
            {"group_size": 256, "options": {"num_steps": 100, "batch_size": 16}},
            1 / 4,
            1,
        ),  # further problems are trained on only
        ({"settings": {"num_points": 512}}, 2, 2),
    ],
)
def test_the_planned_work_follows_the_settings(changes, training, solving):
    base, other = cost_estimate.planned_work(cell()), cost_estimate.planned_work(cell(**changes))
    assert other["training"] == pytest.approx(training * base["training"]) and other[
        "solving"
    ] == pytest.approx(solving * base["solving"])


def test_work_counts_each_evaluation_of_the_training_once():
    settings = cost_estimate.family(cell())[0]
    assert cost_estimate.planned_work(cell())["training"] == 2 * 64 * 100 * settings["num_points"]


def manifest(cell, start, training, solving):
    return cell, {
        "Joint.run": training,
        "JointRefined.run": 0.75 * solving,
        "NetworkStart.run": 0.25 * solving,
        "Joint.compile": start / 2,
        "total": start + training + solving,
    }


def test_estimates_are_exact_for_what_was_computed_and_proportional_for_the_rest():
    one, two = cell(), cell(network_seeds=(0, 1, 2, 3, 4, 5), data_seed=1)
    rates = cost_estimate.Rates({one.name: manifest(one, 10.0, 8.0, 4.0)})
    assert rates.estimate(one) == cost_estimate.Estimate(22.0, "computed")
    estimate = rates.estimate(two)
    assert estimate.basis == "scaled" and estimate.seconds == pytest.approx(10.0 + 3 * 8.0 + 3 * 4.0)
    assert rates.estimate(studies.plan("billiards", "smoke")[0]).basis == "unknown"


def test_on_processors_a_cell_counts_with_the_time_for_which_it_keeps_all_of_them_busy():
    """Two studies that run at once take twice as long on the clock; what they cost is the same."""
    alone, two = cell(), cell(data_seed=1)
    seconds = manifest(alone, 10.0, 8.0, 4.0)[1]
    slowed = {name: 2 * value for name, value in seconds.items()}
    for found in (seconds, slowed):
        rates = cost_estimate.Rates({alone.name: (alone, {**found, "processor": 33.0})}, cores=2)
        assert rates.estimate(alone).seconds == pytest.approx(16.5) and rates.estimate(
            two
        ).seconds == pytest.approx(16.5)
    on_the_clock = cost_estimate.Rates(
        {alone.name: (alone, slowed)}, cores=2
    )  # an older manifest: its clock is an upper bound
    assert on_the_clock.estimate(alone).seconds == pytest.approx(44.0)
    both = cost_estimate.Rates(
        {alone.name: (alone, {**seconds, "processor": 33.0}), two.name: (two, slowed)}, cores=2
    )
    assert both.estimate(cell(data_seed=2)).seconds == pytest.approx(
        16.5
    )  # the bound is not mixed with what was measured
    on_accelerator = cost_estimate.Rates({alone.name: (alone, {**seconds, "processor": 33.0})})
    assert on_accelerator.estimate(two).seconds == pytest.approx(22.0)
    shared = cost_estimate.Rates(
        {alone.name: (alone, {**seconds, "at_once": 4})}
    )  # with three others on the card
    assert shared.estimate(two).seconds == shared.estimate(alone).seconds == pytest.approx(22.0 / 4)
    assert (
        cores_of("CPU, AMD EPYC, 2 cores") == 2
        and cores_of("NVIDIA H100 (GPU), Intel Xeon, 16 cores") is None
    )


def test_cells_with_simulations_of_the_same_size_tell_most():
    """A finer grid may cost more than its size says: then only cells with that grid tell it."""
    coarse, fine = cell(), cell(settings={"num_points": 512}, data_seed=1)
    rates = cost_estimate.Rates(
        {coarse.name: manifest(coarse, 1.0, 8.0, 4.0), fine.name: manifest(fine, 1.0, 80.0, 40.0)}
    )
    assert rates.estimate(cell(data_seed=2)).seconds == pytest.approx(13.0)
    assert rates.estimate(cell(settings={"num_points": 512}, data_seed=2)).seconds == pytest.approx(121.0)
    between = rates.estimate(
        cell(settings={"num_points": 1024}, data_seed=2)
    ).seconds  # no such cell: from both, by their work
    assert between == pytest.approx(1.0 + 132.0 * 4 / 3)
    scaled = [
        (c, rates.estimate(c)) for c in (cell(data_seed=2), cell(settings={"num_points": 1024}))
    ]  # one group holds the other
    assert cost_pages._basis(scaled, rates) == "2 scaled from 2 other cells"


def test_the_check_leaves_a_study_out_before_it_estimates_it():
    """Times that are exactly proportional to the work are told exactly; those of the study itself do not help."""
    cells = [cell(study=f"study {k}", network_seeds=tuple(range(k))) for k in (1, 2, 3)]
    known = {c.name: manifest(c, 5.0, 2.0 * len(c.network_seeds), 4.0 * len(c.network_seeds)) for c in cells}
    assert cost_estimate.Rates(known).check() == pytest.approx([1.0, 1.0, 1.0])
    assert cost_estimate.Rates(dict([next(iter(known.items()))])).check() == []


def test_a_benchmark_bounds_what_nothing_else_is_known_about():
    row = {"problem": "wave_packet", "work": "evaluation", "seconds": 1e-5, "compile_seconds": 2.0}
    rates = cost_estimate.Rates({}, {"scaling": [{**row, "n": 256, "seconds": 1.0}, {**row, "n": 4096}]})
    estimate = rates.estimate(cell())
    evaluations = (
        sum(cost_estimate.planned_work(cell()).values()) / cost_estimate.family(cell())[0]["num_points"]
    )
    assert estimate.basis == "benchmark" and estimate.seconds == pytest.approx(6.0 + 1e-5 * evaluations)


def test_the_page_says_what_the_estimate_rests_on():
    cells = cost_estimate.cells_of("paper")
    known = next(c for c in cells if c.problem == "wave_packet" and c.kind == "joint")
    text = cost_pages.fragment(
        "paper", {"a machine": cost_estimate.Rates({known.name: manifest(known, 3600.0, 1800.0, 1800.0)})}
    )
    alike = sum((c.problem, c.kind) == ("wave_packet", "joint") for c in cells)
    assert "**On a machine**" in text and f"1 computed; {alike - 1} scaled from 1 other cell;" in text
    assert f"{len(cells) - alike} not estimated and left out" in text
    assert "no estimate" in cost_pages.fragment("paper", {})


def test_times_are_kept_and_added_to(tmp_path):
    cells = cost_estimate.cells_that_tell()
    one, two = [c for c in cells if not (reference_folder() / f"{c.name}.json").exists()][:2]
    cost_estimate.keep({"a machine": {one.name: (one, {"total": 1.0})}}, tmp_path)
    files = cost_estimate.keep(
        {"a machine": {two.name: (two, {"total": 2.0})}, "CPU, other": {one.name: (one, {"total": 3.0})}},
        tmp_path,
    )
    assert sorted(path.name for path in files) == ["a-machine.json", "cpu-other.json"]
    assert cost_estimate.kept(tmp_path) == {"a machine": {one.name: (one, {"total": 1.0}), two.name: (two, {"total": 2.0})},
                                            "CPU, other": {one.name: (one, {"total": 3.0})}}  # fmt: skip
    result = next(c for c in cells if (reference_folder() / f"{c.name}.json").exists())
    there = hardware(read_manifest(result, reference_folder()))
    no_longer = cell(num_problems=63)  # in no profile
    cost_estimate.keep(
        {name: {c.name: (c, {"total": 4.0}) for c in (result, no_longer)} for name in (there, "CPU, other")},
        tmp_path,
    )
    assert set(cost_estimate.kept(tmp_path)["CPU, other"]) == {one.name, result.name}
    assert not cost_estimate.kept(tmp_path).get(there)  # that time is beside its result
    (tmp_path / "else.json").write_text("{}")
    with pytest.raises(ValueError, match="else.json: expected times of studies"):
        cost_estimate.kept(tmp_path)


def test_times_of_studies_that_share_a_card_are_found_kept_and_divided(tmp_path):
    one = next(
        c for c in cost_estimate.cells_of("paper") if not (reference_folder() / f"{c.name}.json").exists()
    )
    seconds = {"total": 40.0, "Joint.run": 8.0}
    text = json.dumps(
        {"device": "NVIDIA H (gpu)", "machine": "other, 16 cores", "seconds": seconds, "studies_at_once": 4}
    )
    (tmp_path / one.name).parent.mkdir(parents=True)
    (tmp_path / f"{one.name}.json").write_text(text)
    times = cost_estimate.computed([one], [tmp_path])
    cost_estimate.keep(times, tmp_path / "timings")
    (kept,) = cost_estimate.kept(tmp_path / "timings").values()
    for known in (*times.values(), kept):
        rates = cost_estimate.Rates(known)
        assert rates.estimate(one) == cost_estimate.Estimate(10.0, "computed")
        assert "up to 4 cells at once" in cost_pages.fragment("paper", {"a card": rates})


def test_kept_times_tell_as_much_as_those_of_the_manifest(tmp_path):
    """Estimates from a kept time are those from the whole manifest, to the four digits that are kept; keeping it again changes nothing."""
    seconds = {
        "Joint.compile": 8.51,
        "Joint.run": 21.23456,
        "JointRefined.run": 3.4567,
        "refinement.run": 0.0123,
        "total": 40.98765,
        "processor": 63.21987,
    }
    kinds = {
        c.kind: c
        for c in cost_estimate.cells_that_tell()
        if not (reference_folder() / f"{c.name}.json").exists()
    }
    for one in kinds.values():
        cost_estimate.keep({"a machine": {one.name: (one, seconds)}}, tmp_path)
        kept = cost_estimate.kept(tmp_path)["a machine"][one.name][1]
        assert cost_estimate.spent_seconds(one, kept, 2) == pytest.approx(
            cost_estimate.spent_seconds(one, seconds, 2), rel=2e-3
        )
        cost_estimate.keep({"a machine": {one.name: (one, kept)}}, tmp_path)
        assert cost_estimate.kept(tmp_path)["a machine"][one.name][1] == kept
    assert set(kinds) >= {"classical", "joint", "generalization"}


def test_kept_times_are_those_that_no_manifest_of_a_result_has():
    kept = cost_estimate.kept(ROOT / "results" / "timings")
    beside = cost_estimate.computed(cost_estimate.cells_that_tell(), [ROOT / "results"])
    assert kept and not [
        name for hardware, times in kept.items() for name in times if name in beside.get(hardware, {})
    ]


def test_every_cell_of_the_profiles_has_requests_that_fit_its_work():
    cells = cost_estimate.cells_of("paper")
    small = studies.plan("navier_stokes", "smoke")
    asked = workflow_plan.requests([*cells, *small])
    assert (
        set(asked) == {c.name for c in [*cells, *small]}
        and min(one["minutes"] for one in asked.values()) >= 1
    )
    large = studies.plan("navier_stokes", "paper")  # a larger grid, and more problems
    assert min(asked[c.name]["memory_mb"] for c in large) > max(asked[c.name]["memory_mb"] for c in small)


def test_time_of_many_processors_is_asked_for_as_if_one_did_the_work(tmp_path, monkeypatch):
    """A job may find fewer processors than the machine had that timed it, or be unable to share its work between them."""
    cell = next(
        c for c in cost_estimate.cells_of("paper") if not (reference_folder() / f"{c.name}.json").exists()
    )
    monkeypatch.setattr(cost_estimate, "timings_folder", lambda: tmp_path)
    cost_estimate.keep(
        {"CPU, other, 64 cores": {cell.name: (cell, {"total": 300.0, "processor": 6400.0})}}, tmp_path
    )
    assert workflow_plan.requests([cell])[cell.name]["minutes"] >= 6400 / 60


def test_jobs_ask_for_the_time_of_all_their_cells_and_the_memory_of_the_largest():
    cells = [
        {"requests": {"minutes": 10, "memory_mb": 4000}},
        {"requests": {"minutes": 5, "memory_mb": 9000}},
    ]
    assert inputs.requested(cells) == {"minutes": inputs.START_MINUTES + 15, "memory_mb": 9000}
    assert inputs.requested([{}])["memory_mb"] == inputs.UNKNOWN["memory_mb"]
