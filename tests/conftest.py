"""Settings of all tests: no progress bars, JAX keeps its compiled programs between runs,
and one built book for all."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import filelock
import pytest

from jpo_book import hermetic
from jpo_book.run import compilation
from jpo_book.studies.netcdf import read_netcdf

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Tests run under the rules of the book's runs, whatever the shell says; processes of xdist inherit them.
SHELL = json.loads(os.environ.get("JPO_TEST_SHELL", "null")) or dict(os.environ)
PYTEST = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
hermetic.enter()
os.environ.update(PYTEST)  # which process of xdist this is
os.environ["JPO_TEST_SHELL"] = json.dumps(SHELL)

# What tests run as a user would gets the shell, but nothing that they share with the build: it finds its way.
SETTINGS = {
    name: value
    for name, value in SHELL.items()
    if not name.startswith(
        ("JPO_", "JAX_", "XLA_", "PYTEST_", "VIRTUAL_ENV", "MAKE", "MFLAGS")
    )  # `make test` itself is a make
}


def reference(cells):
    """The reference results of cells as they lie there; nothing is computed, and so nothing overwritten."""
    return {cell.name: read_netcdf(ROOT / "results" / f"{cell.name}.nc") for cell in cells}


def make(clone, *arguments):
    return subprocess.run(["make", *arguments], cwd=clone, env=SETTINGS, capture_output=True, text=True)


def studies(clone):
    """{name: manifest} of all studies that are complete. A manifest says when its study was computed
    and how long it took.

    Times of files do not tell: Snakemake sets them anew for all results of a job, also for those
    that it only found.
    """
    found = {}
    for manifest in (clone / "_build" / "studies").rglob("*.json"):
        result = manifest.with_suffix(".nc")
        if not manifest.name.startswith(".") and result.is_file():
            found[str(result.relative_to(clone))] = manifest.read_text()
    return found


def kill_a_build(clone, share):
    """Start a build, and end all its processes at once when this share
    of its studies is there; returns these."""
    build = subprocess.Popen(
        ["make", "book", "PROFILE=smoke"],
        cwd=clone,
        env=SETTINGS,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    plan, give_up = clone / "_build" / "plan.json", time.monotonic() + 900
    while build.poll() is None and time.monotonic() < give_up:
        finished = studies(clone)
        if finished and len(finished) >= share * len(json.loads(plan.read_text())):
            break
        time.sleep(0.1)
    os.killpg(build.pid, signal.SIGKILL)
    assert build.wait() == -signal.SIGKILL, "the build had ended before"
    return studies(clone)


def book(clone):
    started = time.monotonic()
    done = make(clone, "book", "PROFILE=smoke")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout, time.monotonic() - started


OPTIMIZED = {
    **SETTINGS,
    "XLA_FLAGS": compilation.quick_flags(),
}  # for what computes long, in a process of its own

# Before anything imports JAX, and for the processes that tests start.
os.environ["XLA_FLAGS"] = compilation.quick_flags(level=0)
os.environ.setdefault("JPO_PROGRESS", "0")
os.environ.setdefault("JPO_PROCESSES", "1")  # other tests run beside
os.environ.setdefault(
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3"
)  # to write all the small ones takes longer than to compile them
compilation.keep_programs(compilation.programs_folder(ROOT))


def pytest_itemcollected(item):
    """What needs the built book is marked, so that one can leave it out. `make test` runs each file in one
    process; processes that wait for the book leave the cores to the others. What builds in the clone again is
    all in test_build.py; the others only read the pages, and have a copy of them."""
    if {"built_book", "book_folder", "html_folder"} & set(item.fixturenames):
        item.add_marker("book")


# What begins first, so that nothing long is left for the end: the build of the book and what reads it,
# then what computes most.
BEGINNING = (
    "build",
    "book",
    "navier_stokes",
    "kuramoto_sivashinsky",
    "interactive",
    "billiards",
    "reading",
    "devices",
    "solvers",
    "joint",
)


def pytest_collection_modifyitems(items):
    """Files in the order in which they begin; within a file, tests stay in theirs."""
    place = {f"test_{name}.py": number for number, name in enumerate(BEGINNING)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="module", autouse=True)
def whole_cache():
    """Some tests kill processes; what those left half written in the cache would stop all later writes."""
    compilation.remove_damaged(compilation.programs_folder(ROOT), everything=False)


@pytest.fixture(scope="session")
def shared_clone(tmp_path_factory):
    """(a copy of what git has or would take, built; a copy of its pages): made once for all
    processes of the tests.

    The first build is killed, and one of its finished studies damaged; the second one completes it. What was
    there between the two is in the file killed.json beside the copies.
    """
    if shutil.which("make") is None or shutil.which("git") is None:
        pytest.skip("make and git are needed for a build")
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    clone, pages = base / "build" / "a clone", base / "build" / "pages"
    with filelock.FileLock(base / "build.lock"):
        if not clone.exists():
            command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
            for name in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split(
                "\0"
            ):
                if name and (ROOT / name).is_file():
                    (clone / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, clone / name)
            finished = kill_a_build(clone, share=1 / 3)
            cheapest = min(finished, key=lambda name: json.loads(finished[name])["seconds"]["total"])
            with (clone / cheapest).open("ab") as file:
                file.write(b"damage")
            (base / "build" / "killed.json").write_text(
                json.dumps({"finished": finished, "damaged": cheapest})
            )
            out, _ = book(clone)
            assert out.splitlines()[-1] == str(clone / "_build" / "html" / "index.html")
            shutil.copytree(clone / "_build" / "html", pages / "html")
            shutil.copy2(clone / "_build" / "ledger.json", pages)
    assert pages.exists(), "the book could not be built; the test that tried it first says why"
    return clone, pages / "html"


@pytest.fixture(scope="session")
def built_book(shared_clone):
    """The clone with the built book, to build in it again."""
    return shared_clone[0]


@pytest.fixture(scope="session")
def built_pages(shared_clone):
    """The pages of the built book, to read them while something is built in the clone;
    the ledger lies beside their folder."""
    return shared_clone[1]


@pytest.fixture(scope="session")
def browser():
    """Chromium, from the system."""

    def refuse(missing) -> NoReturn:
        if os.environ.get("JPO_REQUIRE_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)

    if shutil.which("chromium") is None:
        refuse("no Chromium: install it (on Debian: apt install chromium) to check the book in a browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        refuse("no playwright: run `make env` to check the book in a browser")
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        yield program
        program.close()
