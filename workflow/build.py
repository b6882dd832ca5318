"""`make book`: bring the book up to date and print where it is.
Standard library only, so that it starts at once.

    .venv/bin/python workflow/build.py [PROFILE] [EXECUTOR] [GPUs]

Snakemake decides what has to run (workflow/Snakefile). This driver adds what it lacks: one build at a time in
a folder, one line for each finished step, no processes left behind by a killed build, and an answer within a
second when nothing has changed.
"""

import contextlib
import difflib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from inputs import ROOT, all_sources, content_hash, studies_folder

from jpo_book.files import write_atomically
from jpo_book.run import compilation
from jpo_lib._processors import usable_cores

BUILD = ROOT / "_build"
PAGES = BUILD / "html"
STAMP = BUILD / "book.json"  # written last: what the finished book was made from
PLAN = BUILD / "plan.json"
LOG = BUILD / "workflow.log"
EXECUTED = ROOT / "book" / "_executed"
JAX_CACHE = compilation.programs_folder(ROOT)
EXECUTORS = ROOT / "workflow" / "profiles"
EVERY = 600.0  # seconds between two reports of how far the studies are


class Failure(Exception):
    pass


def check_name(option, what, name, known):
    """Refuse a name that is not known, with the nearest one."""
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {option}={close[0]}?" if close else f"use one of {', '.join(known)}."
        raise Failure(f"expected {what}, got '{name}': {hint}")


def check_profile(name):
    check_name(
        "PROFILE",
        "a profile",
        name,
        sorted(path.stem for path in (ROOT / "jpo_book" / "studies" / "profiles").glob("*.yaml")),
    )


def find_executor(name):
    """The folder of an executor's settings: one of workflow/profiles by its name,
    or any other by its path."""
    if "/" not in name:
        check_name(
            "EXECUTOR",
            "an executor",
            name,
            sorted(path.parent.name for path in EXECUTORS.glob("*/config.yaml")),
        )
        return EXECUTORS / name
    folder = Path(name).expanduser().resolve()
    if not (folder / "config.yaml").is_file():
        raise Failure(
            f"expected a folder with a config.yaml as EXECUTOR, got '{name}': copy one of workflow/profiles."
        )
    return folder


def check_gpus(text):
    """Number of GPUs for each study."""
    if not text.isascii() or not text.isdigit():
        raise Failure(
            f"expected the number of GPUs for each study, got '{text}': write GPU=1, or nothing for none."
        )
    return int(text)


class Place:
    """Where the studies and notebooks are computed: the settings of an executor, and GPUs for each study."""

    def __init__(self, executor, gpus):
        self.folder, self.gpus = find_executor(executor), check_gpus(gpus)
        self.here = self.folder == EXECUTORS / "local"
        # One more than there are cores: while one waits,
        # for files or for a kernel to start, another computes.
        self.num_processes = usable_cores() + 1 if self.here else None
        # None where this is not known.
        self.studies_at_once = 1 if self.here and self.gpus else self.num_processes

    def options(self):
        """Arguments for Snakemake. Here, studies that need a GPU take turns on those of this machine."""
        here = [
            "--cores",
            str(self.num_processes),
            *(["--resources", f"gpu={self.gpus}"] if self.gpus else []),
        ]
        return ["--workflow-profile", str(self.folder), *(here if self.here else [])]


@contextlib.contextmanager
def only_build():
    """Hold the folder's build lock, which the system releases however this process ends.

    Waits some seconds, because the processes of a killed build need a moment to end. Yields the time at which
    a build began that never finished, or None.
    """
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "build.lock", "a+") as lock:
        give_up = time.monotonic() + 5
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise Failure(
                        "another build is running in this folder: wait until it ends, then try again."
                    ) from None
                time.sleep(0.2)
        lock.seek(0)
        unfinished = lock.read().strip()
        lock.seek(0)
        lock.truncate()
        lock.write(str(time.time()))
        lock.flush()
        yield float(unfinished) if unfinished else None
        lock.seek(0)
        lock.truncate()


def environment(place=None):
    """Settings for all processes of the build; JPO_BUILD lets them end when this process is gone.

    JPO_EXECUTOR is the folder of the executor's settings, where that is not this machine.
    """
    settings = {
        "JPO_PROGRESS": "0",
        "PYTHONUNBUFFERED": "1",
        "JPO_PROCESSES": "1",  # several studies and notebooks run at once
    }
    where = {"JPO_EXECUTOR": str(place.folder)} if place and not place.here else {}
    return {**settings, **os.environ, **where, "JPO_BUILD": f"{socket.gethostname()}:{os.getpid()}"}


def end_with_parent(parent):
    """When make is killed this process would live on and hold the lock: end it.
    Its children end because it did."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def state_of_outputs(profile):
    """A hash over everything that the book consists of. Study files by size and time of change:
    they may be large."""
    total = hashlib.sha256(profile.encode())
    for folder in (PAGES, EXECUTED, ROOT / "book" / "_generated"):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                total.update(
                    str(path.relative_to(ROOT)).encode() + hashlib.sha256(path.read_bytes()).digest()
                )
    total.update((BUILD / "ledger.json").read_bytes())
    for path in sorted(studies_folder().rglob("*")):
        status = path.stat()
        if not path.is_dir():
            total.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return total.hexdigest()


def is_current(profile, sources):
    try:
        stamp = json.loads(STAMP.read_text())
        return (
            stamp["sources"] == sources
            and (PAGES / "index.html").is_file()
            and stamp["outputs"] == state_of_outputs(profile)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def clean_up(profile, unfinished):
    """Remove what a build that was killed, another profile or a removed notebook has left."""
    compilation.remove_damaged(JAX_CACHE)
    for path in EXECUTED.glob(".*.tmp"):
        path.unlink(missing_ok=True)
    made_with = BUILD / "profile.txt"
    if not made_with.is_file() or made_with.read_text() != profile:
        shutil.rmtree(EXECUTED, ignore_errors=True)  # all pages are from one profile
        made_with.write_text(profile)
    EXECUTED.mkdir(exist_ok=True)
    for path in EXECUTED.glob("*.ipynb"):
        if not (ROOT / "notebooks" / path.name).is_file():
            path.unlink()
    JAX_CACHE.mkdir(parents=True, exist_ok=True)
    if unfinished is not None:  # JAX never replaces an entry, so one that was cut off by a kill would stay
        for path in JAX_CACHE.glob("*"):
            if path.stat().st_mtime >= unfinished - 1:
                path.unlink(missing_ok=True)


def snakemake(*arguments, place=None):
    """Run Snakemake; its own reports go to the log, those of the steps to stdout."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--nolock", *arguments]
    with open(LOG, "a") as log:
        return subprocess.run(command, cwd=ROOT, env=environment(place), stderr=log).returncode


def plan_studies(profile, place):
    """List the cells of the profile's studies in a file for Snakemake, with a summary.

    Returns {path without ending: state}, and {the same: minutes to ask for},
    one each where nothing is known of them.
    """
    command = [sys.executable, "-m", "jpo_book.cli", "study", "--profile", profile, "--list", "--json"]
    # Their results are in git as far as they have been computed; other profiles start from scratch.
    if profile in ("paper", "published"):
        command.append("--adopt")
    done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure("the studies could not be listed: see above.")
    PLAN.write_text(done.stdout)
    cells = json.loads(done.stdout)
    states = {cell["name"]: cell["state"] for cell in cells}
    counts = {word: sum(state == word for state in states.values()) for word in ("valid", "missing")}
    rest = f"{counts['missing']} missing, {len(states) - sum(counts.values())} not valid"
    print(
        f"studies   {len(states)} in the plan of the profile {profile}: {counts['valid']} there, {rest}",
        flush=True,
    )
    for name, state in states.items():
        if state.startswith("foreign"):
            raise Failure(f"expected a study file of this library at {name}, got a {state}: move it away.")
        if state not in counts:
            print(f"          {name} is computed again ({state})", flush=True)
    folder = os.path.relpath(studies_folder(), ROOT)
    minutes = {os.path.join(folder, cell["name"]): cell["minutes"] for cell in cells}
    return {os.path.join(folder, name): state for name, state in states.items()}, minutes


def in_words(seconds):
    """A time span of minutes or hours."""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def progress(expected, took, seconds, num_at_once=None):
    """How far the studies are, in words.

    How long the rest takes follows from how long those that are complete took. The time since the beginning
    would say too much: most of it may have gone into long ones that are not complete.

    Arguments:
        expected: {path: expected work} of those that were missing, in any unit.
        took: {path: seconds} of those that have been computed since.
        seconds: time since then.
        num_at_once: how many are computed at the same time; None where this is not known.
    """
    line = f"          {len(took)} of {len(expected)} missing studies computed in {in_words(seconds)}"
    total, done = sum(expected.values()), sum(expected[path] for path in took)
    if not done:
        return line
    rest = (total - done) / done * sum(took.values())
    return f"{line}, {done / total:.0%} of the expected work" + (
        f"; about {in_words(rest / num_at_once)} to go" if num_at_once else ""
    )


@contextlib.contextmanager
def reports(expected, num_at_once=None):
    """Print `progress` now and then, while studies are computed."""
    began, clock, ended = time.time(), time.monotonic(), threading.Event()

    def took(path):
        """Seconds of a study that was computed since; None of others."""
        manifest = ROOT / f"{path}.json"  # written last
        with contextlib.suppress(OSError, ValueError, KeyError):
            if manifest.stat().st_mtime >= began - 1:
                return json.loads(manifest.read_text(encoding="utf-8"))["seconds"]["total"]
        return None

    def report():
        while not ended.wait(EVERY):
            computed = {path: seconds for path in expected if (seconds := took(path)) is not None}
            if len(computed) == len(expected):
                return
            print(progress(expected, computed, time.monotonic() - clock, num_at_once), flush=True)

    if expected:
        threading.Thread(target=report, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def update_book(profile, place, unfinished):
    states, minutes = plan_studies(profile, place)
    LOG.unlink(missing_ok=True)
    config = ["--config", f"profile={profile}", f"plan={PLAN.relative_to(ROOT)}", f"gpus={place.gpus}"]
    valid = [
        f"{path}{ending}" for path, state in states.items() if state == "valid" for ending in (".nc", ".json")
    ]
    if unfinished is not None and valid and (ROOT / ".snakemake").is_dir():
        # The kill may have come between the end of a study and Snakemake's note of it:
        # the study's own check counts.
        snakemake("--cleanup-metadata", *valid, *config)
    # Files that are there but not valid: Snakemake,
    # which looks at times and its own records, would keep them.
    redo = [f"{path}.nc" for path, state in states.items() if state not in ("valid", "missing")]
    options = [*place.options(), *config, *(["--forcerun", *redo] if redo else [])]
    if not place.here:
        print(
            f"jobs      go to {place.folder.name}; Snakemake's reports are in {LOG.relative_to(ROOT)}",
            flush=True,
        )
    with reports(
        {path: minutes[path] for path, state in states.items() if state != "valid"}, place.studies_at_once
    ):
        failed = snakemake(
            *options, *(["--quiet", "progress", "rules", "host"] if place.here else []), place=place
        )
    if failed:
        own = re.sub(r"\x1b\[[0-9;]*m", "", LOG.read_text(errors="replace")).strip().splitlines()
        if not any("CalledProcessError" in line for line in own):  # then no step has said what is wrong
            print("\n".join(own[-15:]), file=sys.stderr)
        raise Failure(
            f"the book is not complete because a step failed: see above, and {LOG.relative_to(ROOT)}."
        )


def main(arguments):
    profile, executor, gpus = (
        given or usual
        for given, usual in zip([*arguments, "", "", ""], ("laptop", "local", "0"), strict=False)
    )
    check_profile(profile)
    place = Place(executor, gpus)
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    started = time.monotonic()
    with only_build() as unfinished:
        sources = content_hash(all_sources())
        if is_current(profile, sources):
            print(f"nothing has changed ({time.monotonic() - started:.1f} s)")
        else:
            STAMP.unlink(missing_ok=True)
            clean_up(profile, unfinished)
            update_book(profile, place, unfinished)
            write_atomically(STAMP, json.dumps({"sources": sources, "outputs": state_of_outputs(profile)}))
            print(f"{'book      complete':<64} {time.monotonic() - started:7.1f} s")
    print(PAGES / "index.html")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failure as failure:
        sys.exit(f"make book: {failure}")
    except OSError as error:
        sys.exit(
            f"make book: {error.strerror or error}: {error.filename or ROOT}; correct this and try again."
        )
    except KeyboardInterrupt:
        sys.exit(130)
