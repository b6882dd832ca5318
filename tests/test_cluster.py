"""Studies on a cluster: the real workflow through a second executor, requests for time and memory, and the
settings of each executor.

The cluster of these tests is a script that starts jobs in the background, in a session of their own,
and tells their state.
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
from jpo_book.pages import run_time
from jpo_book.studies import workflow_plan

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

# submit SCRIPT prints a number; status NUMBER prints what became of it. A job that was killed
# leaves no exit code.
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
    number = int(sys.argv[2])
    alive = psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    ended = os.path.exists(code)
    if ended:
        print("success" if open(code).read().strip() == "0" else "failed")
    else:
        print("running" if alive else "failed")
"""


@pytest.fixture
def cluster(tmp_path):
    """A folder with the plan of three cells, each a job of its own,
    and the settings of an executor that runs one job at a time."""
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
            "rank": 0,
            "minutes": 1,
            "memory_mb": 1000,
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
    killed, at_kill = None, {}
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


# --- the settings of the executors --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["local", "slurm", "kubernetes"])
def test_snakemake_understands_the_settings_and_jobs_ask_for_what_was_planned(tmp_path, name, monkeypatch):
    monkeypatch.setenv("JPO_EXECUTOR", str(ROOT / "workflow" / "profiles" / name))
    asked = {"minutes": 70, "memory_mb": 5555}
    (tmp_path / "plan.json").write_text(json.dumps([{**cell, **asked} for cell in planned()]))
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
    with pytest.raises(build.Failure, match=r"^expected .*") as failure:
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


# --- what jobs ask for --------------------------------------------------------------------------------------


def test_a_cell_asks_for_twice_what_it_took_as_if_one_core_did_the_work(tmp_path):
    """A job may find fewer cores than the machine had that timed it,
    or be unable to share its work between them."""
    path = tmp_path / f"{JOINT.name}.json"
    path.parent.mkdir(parents=True)
    for seconds, minutes in (({"total": 300.0}, 10), ({"total": 300.0, "processor": 6390.0}, 213)):
        path.write_text(json.dumps({"seconds": seconds}))
        assert workflow_plan.minutes(JOINT, tmp_path) == minutes
    path.write_text("damaged")
    assert workflow_plan.minutes(JOINT, tmp_path) == workflow_plan.MINUTES


def test_every_cell_of_the_plan_has_requests_and_a_rank(tmp_path):
    cells = [*studies.plan("wave_packet", "smoke"), *studies.plan("navier_stokes", "smoke")]
    plan = workflow_plan.workflow_plan(cells, "smoke", tmp_path)
    assert [cell["name"] for cell in plan] == [cell.name for cell in cells]
    assert {cell["minutes"] for cell in plan} == {workflow_plan.MINUTES}
    small, large = plan[0], plan[-1]  # the flow has by far the longest simulations and the largest arrays
    assert large["rank"] > small["rank"] and large["memory_mb"] > small["memory_mb"]


def test_jobs_ask_for_the_time_of_all_their_cells_and_the_memory_of_the_largest():
    cells = [{"minutes": 10, "memory_mb": 4000}, {"minutes": 5, "memory_mb": 9000}]
    assert inputs.requested(cells) == {"minutes": inputs.START_MINUTES + 15, "memory_mb": 9000}


def test_the_page_sums_the_times_of_the_reference_results(tmp_path, monkeypatch):
    cells = [cell for name in studies.STUDIES for cell in studies.plan(name, "paper")]
    monkeypatch.setattr(run_time, "reference_folder", lambda: tmp_path)
    assert "nothing is known" in run_time.time_of_profile("paper")
    for cell, seconds in zip(cells, ({"total": 3600.0}, {"total": 9000.0, "processor": 7200.0})):
        path = tmp_path / f"{cell.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"device": "cpu (cpu)", "machine": "AMD, 2 cores", "seconds": seconds}))
    text = run_time.time_of_profile("paper")
    assert f"has {len(cells)} cells, of which 2 have a reference result" in text
    assert "took 3.0 h of CPU time in all, and the longest 2.0 h, on CPU, AMD, 2 cores. For 1 of them" in text
