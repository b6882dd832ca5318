"""`make book` and `make pdf` as a new user runs them:
in a fresh copy of the clone, in a folder whose name has a space."""

import json
import os
import re
import shutil
import subprocess
import time

import pytest
import yaml
from conftest import SETTINGS, book, make, studies


@pytest.fixture
def clone(built_book):
    return built_book


def test_the_book_is_there(clone):
    items = json.loads((clone / "_build" / "ledger.json").read_text())["items"]
    assert len(items) == 40 and any(item["status"] == "built" for item in items)
    pages = clone / "_build" / "html"
    for item in items:
        if item["status"] == "built":
            assert f'id="{item["anchor"]}"' in (pages / item["page"]).read_text(), item["id"]
    for notebook in (clone / "notebooks").glob("*.ipynb"):
        assert "How this page was made" in (pages / "_executed" / f"{notebook.stem}.html").read_text()
    assert studies(clone)


def test_nothing_of_this_machine_is_in_the_book(clone):
    for path in (clone / "_build" / "html").rglob("*.html"):
        assert str(clone) not in path.read_text(), path.name
    assert str(clone) not in (clone / "_build" / "ledger.json").read_text()


def test_a_second_build_does_nothing(clone):
    index = clone / "_build" / "html" / "index.html"
    before = index.stat().st_mtime_ns, studies(clone)
    out, seconds = book(clone)
    assert "nothing has changed" in out and seconds < 25
    assert (index.stat().st_mtime_ns, studies(clone)) == before


def test_what_was_spoilt_after_a_build_is_made_again_and_nothing_else(clone):
    """Times, Snakemake's own records and left-overs mean nothing; a page that was changed or cut does.
    A notebook that the table of contents does not name stays outside."""
    pages, later = clone / "_build" / "html", time.time() + 5 * 3600
    good = (pages / "claims.html").read_bytes()
    page = clone / "book" / "_executed" / "12_settings.ipynb"
    stray = clone / "notebooks" / "scratch.ipynb"
    stray.write_text("{}")
    for path in [*(clone / "notebooks").glob("0*.ipynb"), *(clone / "_build" / "studies").glob("*/*"), page]:
        os.utime(path, (later, later))
    shutil.rmtree(clone / ".snakemake")
    (clone / "_build" / "build.lock").write_bytes(b"\xff\x00")
    (clone / "_build" / "html.old").mkdir()
    try:
        out, _ = book(clone)
        assert "notebook  scratch is not in book/_toc.yml: left out" in out and "nothing has changed" in out
        page.write_text(page.read_text().replace("The networks", "The nets"))
        (pages / "claims.html").write_bytes(good[:100])
        (clone / "_build" / "plan.json").write_text("[")
        out, _ = book(clone)
    finally:
        stray.unlink()
    assert "page 12_settings is made again (it was changed by hand)" in out
    assert re.findall(r"^(?:notebook|study) +(\S+) .* s$", out, re.MULTILINE) == ["12_settings"]
    assert (pages / "claims.html").read_bytes() == good and "The networks" in page.read_text()
    assert not (clone / "_build" / "html.old").exists()
    assert "nothing has changed" in book(clone)[0]


def test_of_the_pages_alone_only_these_are_made_again(clone):
    (clone / "_build" / "html" / "claims.html").unlink()
    out, _ = book(clone)
    assert "book is made again (claims.html has changed)" in out
    assert "notebook " not in out and "ledger " not in out


def test_a_killed_build_is_completed_and_nothing_finished_is_lost(clone):
    """The fixture has killed the first build and damaged one of the studies that were there."""
    killed, now = json.loads((clone.parent / "killed.json").read_text()), studies(clone)
    finished, damaged = killed["finished"], killed["damaged"]
    planned = {
        f"_build/studies/{cell['name']}.nc"
        for cell in json.loads((clone / "_build" / "plan.json").read_text())
    }
    assert set(finished) < planned == set(now)
    assert now[damaged] != finished[damaged]
    for name in set(finished) - {damaged}:
        assert now[name] == finished[name], f"{name} was computed again"


def test_a_moved_clone_needs_no_network_and_no_new_build(clone):
    moved = clone.with_name("moved to here")
    clone.rename(moved)
    try:
        env = dict(SETTINGS, UV_OFFLINE="1", PIP_NO_INDEX="1")
        done = subprocess.run(
            ["make", "book", "PROFILE=smoke"], cwd=moved, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0 and "nothing has changed" in done.stdout, done.stdout + done.stderr
        where = [moved / ".venv/bin/python", "-c", "import jpo_lib; print(jpo_lib.__file__)"]
        assert str(moved) in subprocess.run(where, cwd="/", capture_output=True, text=True).stdout
        assert subprocess.run([moved / ".venv/bin/jpo", "--version"], capture_output=True).returncode == 0
    finally:
        moved.rename(clone)


def test_unknown_profiles_and_accelerators_are_refused(clone):
    done = make(clone, "book", "PROFILE=smke")
    assert done.returncode != 0 and "did you mean PROFILE=smoke?" in done.stderr
    done = make(clone, "env", "ACCELERATOR=gpu")
    assert done.returncode != 0 and "one of cpu, cuda13" in done.stderr


def test_a_python_that_is_too_old_is_refused(clone, tmp_path):
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\necho 3.9.2\n")
    old.chmod(0o755)
    done = make(clone, "env", f"PYTHON={old}")
    assert (
        done.returncode != 0 and "expected Python 3.11 or newer" in done.stderr and "is 3.9.2" in done.stderr
    )


def test_no_network_while_installing(clone, tmp_path):
    """An index that nobody answers stands for a missing network."""
    for name in ("Makefile", "pyproject.toml", "requirements", "workflow"):
        copy = shutil.copytree if (clone / name).is_dir() else shutil.copy
        copy(clone / name, tmp_path / name)
    nowhere = "http" + "://127.0.0.1:9/simple"
    env = dict(
        SETTINGS,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL=nowhere,
        UV_INDEX_URL=nowhere,
        PIP_NO_CACHE_DIR="1",
    )
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        env.pop(name, None)
    done = subprocess.run(["make", "env"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode != 0 and "expected a network" in done.stderr, done.stdout + done.stderr
    assert not (tmp_path / ".venv").exists()


# --- the PDF of the whole book: every figure, table and chapter, with the numbers of the site.
# Here, since it is made in the same clone.


@pytest.fixture(scope="session")
def pdf(built_book, browser):
    """(clone, pages of the PDF as text); made once, as `make pdf` does."""
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext: install it (on Debian: apt install poppler-utils) to check the PDF")
    done = make(built_book, "pdf", "PROFILE=smoke")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    path = built_book / "_build" / "html" / "book.pdf"
    assert done.stdout.splitlines()[-1] == str(path)
    text = subprocess.run(
        ["pdftotext", "-layout", str(path), "-"], check=True, capture_output=True, text=True
    ).stdout
    return built_book, text.split("\f")[:-1]


def test_every_built_item_is_in_it_under_its_number(pdf):
    clone, pages = pdf
    text = " ".join(" ".join(pages).split())
    items = json.loads((clone / "_build" / "ledger.json").read_text())["items"]
    missing = [
        item["id"] for item in items if item["status"] == "built" and not re.search(rf"{item['id']}\b", text)
    ]
    assert not missing
    captions = {
        f"Figure {number}" for number in re.findall(r"^\s*Figure (\d+) ", "\n".join(pages), flags=re.M)
    }
    figures = {item["id"] for item in items if item["kind"] == "figure" and item["status"] == "built"}
    assert figures <= captions


def test_it_has_pages_for_all_chapters_and_numbers_them(pdf):
    clone, pages = pdf
    chapters = sum(
        len(part["chapters"]) for part in yaml.safe_load((clone / "book" / "_toc.yml").read_text())["parts"]
    )
    assert chapters < len(pages) < 12 * chapters
    assert f"{len(pages)} / {len(pages)}" in pages[-1]
    assert sum(not page.strip() for page in pages) == 0


def test_the_landing_page_offers_it_and_the_next_build_keeps_it(pdf):
    clone, _ = pdf
    assert 'href="book.pdf" download' in (clone / "_build" / "html" / "index.html").read_text()
    assert "nothing has changed" in make(clone, "book", "PROFILE=smoke").stdout


# --- at the end, since the page that is missing then is not built again


def test_a_failing_notebook_stops_the_build_and_leaves_no_page(clone):
    path = sorted((clone / "notebooks").glob("*.ipynb"))[0]
    good = path.read_text()
    notebook = json.loads(good)
    bad = {
        "cell_type": "code",
        "id": "fails",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": "1 / 0",
    }
    number = 1 + next(
        i for i, cell in enumerate(notebook["cells"]) if "parameters" in cell["metadata"].get("tags", [])
    )
    notebook["cells"].insert(number, bad)
    path.write_text(json.dumps(notebook))
    finished = studies(clone)
    try:
        done = make(clone, "book", "PROFILE=smoke")
    finally:
        path.write_text(good)
    assert done.returncode != 0
    assert f"{path.stem}: cell {number + 1} ('1 / 0') failed with ZeroDivisionError" in done.stdout
    assert not (clone / "book" / "_executed" / path.name).exists()
    assert studies(clone) == finished
