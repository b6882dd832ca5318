"""`make book`: bring the book up to date and print where it is.
Standard library only, so that it starts at once.

    .venv/bin/python workflow/build.py [PROFILE] [EXECUTOR] [GPUs]

This driver judges by content what has to be made, and Snakemake runs it (workflow/Snakefile): times of files
mean nothing, and whatever was removed or spoilt is made again. It also sees to it that there is one build at
a time in a folder, one line for each finished step, no processes left behind by a killed build, and an answer
within a second when nothing has changed.
"""

import contextlib
import difflib
import fcntl
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

from inputs import ROOT, all_sources, studies_of

from jpo_book import hermetic
from jpo_book.files import sha256, studies_folder, write_atomically
from jpo_book.run import compilation, page_state
from jpo_book.run.sources import left_out, list_notebooks
from jpo_lib._processors import usable_cores

BUILD = ROOT / "_build"
PAGES = BUILD / "html"
LEDGER = BUILD / "ledger.json"
STAMP = BUILD / "book.json"  # written last: what the finished book consists of, and what it was made from
PARTS = ("sources", "studies", "executed", "ledger", "pages")  # of this record
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

    Waits some seconds, because the processes of a killed build need a moment to end.
    """
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "build.lock", "a") as lock:
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
        yield


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


def digests(folder, paths=None):
    """{path below the folder: SHA-256} of these files, or of all; None where one is missing."""
    if paths is None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {}
    for path in paths:
        try:
            found[os.path.relpath(folder / path, folder)] = sha256(folder / path)
        except OSError:
            found[os.path.relpath(folder / path, folder)] = None
    return found


def contents(profile, studies):
    """What the book consists of and what it was made from: {part: {path: SHA-256}}.

    studies: the names of the study files.
    """
    return {
        "profile": profile,
        "sources": digests(ROOT, all_sources()),
        "studies": digests(studies_folder(), studies),
        "executed": digests(EXECUTED, [path.name for path in list_notebooks()]),
        "ledger": {**digests(BUILD, [LEDGER]), **digests(ROOT / "book" / "_generated")},
        "pages": digests(PAGES),
    }


def read_stamp():
    """`contents` of the book that was finished last; empty where there is none or its record is damaged."""
    try:
        stamp = json.loads(STAMP.read_bytes())
        return {"profile": stamp["profile"], **{part: dict(stamp[part]) for part in PARTS}}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def why_again(profile, cells, stamp, now):
    """What has to be made beside studies, and why: {stem of a notebook, "ledger" or "book": reason}."""

    def differs(part, *beginnings):
        old, new = stamp.get(part, {}), now[part]
        changed = (path for path in sorted({*old, *new}) if old.get(path) != new.get(path))
        return next((f"{path} has changed" for path in changed if path.startswith(beginnings or "")), None)

    redo, library = {}, page_state.made_from_library()
    for notebook in list_notebooks():
        state = page_state.check(EXECUTED / notebook.name, {"profile": profile}, library)
        loaded = studies_of(notebook, sorted({cell["study"] for cell in cells}))
        renewed = (cell["name"] for cell in cells if cell["state"] != "valid" and cell["study"] in loaded)
        if state == "valid" and (study := next(renewed, None)):
            state = f"{study} is computed"
        if state != "valid":
            redo[notebook.stem] = state
    upstream = "the pages of notebooks are" if redo else None
    library_of_ledger = ("jpo_", "results/", "benchmarks/", "book/proofs.md", "book/_toc.yml")
    if any(cell["state"] != "valid" for cell in cells):
        upstream = upstream or "studies are computed"
    if why := upstream or (
        differs("sources", *library_of_ledger)
        or differs("executed")
        or differs("studies")
        or differs("ledger")
    ):
        redo["ledger"] = why
    if why := redo.get("ledger") or differs("sources", "book/", "_config.yml") or differs("pages"):
        redo["book"] = why
    return redo


def clean_up():
    """Remove what a build that was killed has left, and Snakemake's records, which decide nothing."""
    compilation.remove_damaged(JAX_CACHE)
    for path in [*EXECUTED.glob(".*.tmp"), *BUILD.glob(".*.tmp")]:
        path.unlink(missing_ok=True)
    shutil.rmtree(BUILD / "html.old", ignore_errors=True)
    for name in ("metadata", "incomplete", "locks"):
        shutil.rmtree(ROOT / ".snakemake" / name, ignore_errors=True)
    JAX_CACHE.mkdir(parents=True, exist_ok=True)


def snakemake(*arguments, place=None):
    """Run Snakemake; its own reports go to the log, those of the steps to stdout."""
    start = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--profile", "none"]
    command = [*start, "--nolock", *arguments]
    with open(LOG, "a") as log:
        return subprocess.run(command, cwd=ROOT, env=environment(place), stderr=log).returncode


def plan_studies(profile, place):
    """List the cells of the profile's studies in a file for Snakemake, with a summary.

    Returns the cells as studies.workflow_plan describes them.
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
    return cells


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
    clock, ended = time.monotonic(), threading.Event()

    def read(path):
        """The manifest of a study, which is written last; None where there is none."""
        with contextlib.suppress(OSError):
            return (ROOT / f"{path}.json").read_bytes()

    before = {path: read(path) for path in expected}

    def took(path):
        """Seconds of a study that was computed since; None of others."""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if (manifest := read(path)) != before[path]:
                return json.loads(manifest or "")["seconds"]["total"]

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


def was_killed(log):
    """Whether Snakemake says that a step got SIGKILL, as the system sends it when memory runs short, or
    SIGABRT, as programs send it to themselves then."""
    return bool(re.search(r"died with <Signals\.SIG(KILL|ABRT)|returned non-zero exit status 13[47]", log))


def update_book(profile, place, stamp):
    """Make what is missing or not valid. Returns the names of the study files."""
    cells = plan_studies(profile, place)
    studies = [f"{cell['name']}{ending}" for cell in cells for ending in (".nc", ".json")]
    redo = why_again(profile, cells, stamp, contents(profile, studies))
    for name, why in redo.items():
        if stamp or "missing" not in why:  # a first build makes all
            kind = {"ledger": "ledger", "book": "book"}.get(name, f"page {name}")
            print(f"          {kind} is made again ({why})", flush=True)
    if not redo:
        return studies
    LOG.unlink(missing_ok=True)
    options = [
        *place.options(),
        "--forceall",
        "--drop-metadata",
        "--ignore-incomplete",
        *["--config", f"profile={profile}", f"plan={PLAN.relative_to(ROOT)}", f"gpus={place.gpus}"],
        f"redo={','.join(redo)}",
    ]
    if not place.here:
        print(
            f"jobs      go to {place.folder.name}; Snakemake's reports are in {LOG.relative_to(ROOT)}",
            flush=True,
        )
    expected = {
        os.path.join(studies_folder(), c["name"]): c["minutes"] for c in cells if c["state"] != "valid"
    }
    with reports(expected, place.studies_at_once):
        failed = snakemake(
            *options, *(["--quiet", "progress", "rules", "host"] if place.here else []), place=place
        )
    if failed:
        own = re.sub(r"\x1b\[[0-9;]*m", "", LOG.read_text(errors="replace")).strip().splitlines()
        if not any("CalledProcessError" in line for line in own):  # then no step has said what is wrong
            print("\n".join(own[-15:]), file=sys.stderr)
        if was_killed("\n".join(own)):
            what = "a step was killed, as a system does when memory runs short"
            raise Failure(f"{what}: free memory, or use a smaller PROFILE, then run make book again.")
        raise Failure(
            f"the book is not complete because a step failed: see above, and {LOG.relative_to(ROOT)}."
        )
    return studies


def main(arguments):
    profile, executor, gpus = (
        given or usual
        for given, usual in zip([*arguments, "", "", ""], ("laptop", "local", "0"), strict=False)
    )
    check_profile(profile)
    place = Place(executor, gpus)
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    started = time.monotonic()
    with only_build():
        for line in left_out():
            print(line)
        stamp = read_stamp()
        if stamp and stamp == contents(profile, stamp["studies"]):
            print(f"nothing has changed ({time.monotonic() - started:.1f} s)")
        else:
            clean_up()
            studies = update_book(profile, place, stamp)
            write_atomically(STAMP, json.dumps(contents(profile, studies)))
            print(f"{'book      complete':<64} {time.monotonic() - started:7.1f} s")
    print(PAGES / "index.html")


if __name__ == "__main__":
    try:
        hermetic.seal("make book")
        main(sys.argv[1:])
    except Failure as failure:
        sys.exit(f"make book: {failure}")
    except OSError as error:
        sys.exit(
            f"make book: {error.strerror or error}: {error.filename or ROOT}; correct this and try again."
        )
    except KeyboardInterrupt:
        sys.exit(130)
