"""Which studies a notebook waits for: it must never compute what another job of the build is computing.
And how far a build is."""

import json
import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jpo_book import studies
from jpo_book.files import sealed, sha256
from jpo_book.run import items, page_state, sources

sys.path.insert(0, str(ROOT / "workflow"))
import build
import inputs


def notebook(tmp_path, code):
    path = tmp_path / "one.ipynb"
    path.write_text(inputs.json.dumps({"cells": [{"cell_type": "code", "source": [code]}]}))
    return path


@pytest.mark.parametrize(
    "code, names",
    [
        ('studies.load_or_run(studies.plan("a", profile))', ["a"]),
        ('tables.of(studies.plan("a", profile), studies.plan(\n    "b_c"))', ["a", "b_c"]),
        ('studies.plan(f"b_{name}", profile)', ["b_c", "b_d"]),
        ("studies.load_or_run(cells)", ["a", "b_c", "b_d"]),
        ("print(1)", []),
    ],
)
def test_studies_are_found_in_the_code(tmp_path, code, names):
    assert inputs.studies_of(notebook(tmp_path, code), ["a", "b_c", "b_d"]) == names


def test_every_study_of_the_profiles_is_shown_by_a_notebook():
    waited = {name for path in inputs.list_notebooks() for name in inputs.studies_of(path, studies.STUDIES)}
    assert waited == set(studies.STUDIES)


def words(text):
    """The text with single spaces."""
    return " ".join(text.split())


def test_a_long_build_says_how_far_it_is():
    """A quarter of the work took two hours, spread over two processes:
    the rest takes three, whatever these have begun since."""
    expected = {"large": 90, "small": 5, "smaller": 1, "other": 24}
    took = {"small": 1200.0, "smaller": 600.0, "other": 5400.0}
    of_four = "3 of 4 missing studies computed in 2.0 h, 25% of the expected work"
    assert words(build.progress(expected, took, 7200.0, 2)) == f"{of_four}; about 3.0 h to go"
    assert words(build.progress(expected, took, 7200.0)) == of_four
    assert words(build.progress(expected, {}, 600.0, 2)) == "0 of 4 missing studies computed in 10 min"


def test_only_studies_that_this_build_has_computed_count(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "EVERY", 0.02)
    paths = [str(tmp_path / name) for name in ("new", "stale", "absent")]
    manifest = json.dumps({"seconds": {"total": 30.0}})
    stale = tmp_path / "stale.json"
    stale.write_text(manifest)
    before = time.time() - 100
    os.utime(stale, (before, before))
    with build.reports(dict.fromkeys(paths, 1), 1):
        (tmp_path / "new.json").write_text(manifest)
        give_up = time.monotonic() + 10
        while "1 of 3" not in (out := capsys.readouterr().out) and time.monotonic() < give_up:
            time.sleep(0.02)
    assert (
        "1 of 3 missing studies computed in 0 min, 33% of the expected work; about 1 min to go" in out
        and "2 of 3" not in out
    )


# --- what is made again, and why


PAGE = {"cells": [], "metadata": {"jpo": {"given": {"profile": "smoke"}, "results": [], "seal": "0" * 64}}}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A clone with a notebook, its page, a result that it shows; and a function that judges the page."""
    for folder in ("notebooks", "book", "_executed", "_build"):
        (tmp_path / folder).mkdir()
    for module in (page_state, sources):
        monkeypatch.setattr(module, "root_folder", lambda: tmp_path)
    (tmp_path / "_build" / "a.nc").write_bytes(b"a")
    (tmp_path / "notebooks" / "one.ipynb").write_text("{}")
    (tmp_path / "notebooks" / "stray.ipynb").write_text("{}")
    (tmp_path / "book" / "_toc.yml").write_text("chapters:\n- file: _executed/one\n- file: claims\n")
    page = json.loads(json.dumps(PAGE))
    page["metadata"]["jpo"] |= {
        "results": [{"path": "_build/a.nc", "sha256": sha256(b"a")}],
        "made_from": page_state.made_from(tmp_path / "notebooks" / "one.ipynb"),
    }
    path = tmp_path / "_executed" / "one.ipynb"

    def state(change=lambda page: None, **given):
        new = json.loads(json.dumps(page))
        change(new)
        path.write_text(sealed(json.dumps(new, indent=1)))
        return page_state.check(path, given or {"profile": "smoke"}, page_state.made_from_library())

    return tmp_path, path, state


def test_a_page_is_valid_while_all_that_it_was_made_from_is_there(made):
    root, path, state = made
    assert state() == "valid"
    os.utime(path, (2**31, 2**31))
    os.utime(root / "_build" / "a.nc", (0, 0))
    assert page_state.check(path, {"profile": "smoke"}, page_state.made_from_library()) == "valid"
    assert state(profile="paper") == "it was made with {'profile': 'smoke'}"
    assert "say from what" in state(lambda page: page["metadata"]["jpo"].pop("made_from"))
    picture = {"cell_type": "code", "outputs": [], "metadata": {"mystnb": {"figure": {"name": "figure-s1"}}}}
    assert state(lambda page: page["cells"].append(picture)) == "it is not complete: figure-s1 has no picture"
    (root / "_build" / "a.nc").write_bytes(b"b")
    assert state() == "_build/a.nc is another one"
    (root / "_build" / "a.nc").unlink()
    assert state() == "_build/a.nc is missing"
    (root / "notebooks" / "one.ipynb").write_text("{ }")
    assert state() == "its notebook has changed"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_change_of_a_page_stays_unseen(made, data):
    _, path, state = made
    state()
    good = path.read_bytes()
    at, byte = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 255))
    cut = data.draw(st.booleans())
    bad = good[:at] if cut else good[:at] + bytes([byte]) + good[at + 1 :]
    path.write_bytes(bad)
    verdict = page_state.check(path, {"profile": "smoke"}, page_state.made_from_library())
    assert (verdict == "valid") == (bad == good)


def test_only_notebooks_of_the_table_of_contents_belong_to_the_book(made):
    assert [path.stem for path in sources.list_notebooks()] == ["one"]
    assert sources.left_out() == ["notebook  stray is not in book/_toc.yml: left out"]
    assert {path.stem for path in sources.all_notebooks()} == {"one", "stray"}


def test_a_page_of_the_book_owes_the_items_of_the_registry():
    assert items.missing({"cells": []}, "12_settings") == [f"table-{n} is nowhere" for n in (1, 2, 3)]
    assert items.missing({"cells": []}) == []


@pytest.mark.parametrize("content", ["", "[", "[]", "null", '{"profile": 1}', '{"profile": "x", "pages": 3}'])
def test_a_damaged_record_of_the_book_counts_as_none(tmp_path, monkeypatch, content):
    monkeypatch.setattr(build, "STAMP", tmp_path / "book.json")
    build.STAMP.write_text(content)
    assert build.read_stamp() == {}


@pytest.mark.parametrize(
    ("ending", "killed"), [("os.kill(os.getpid(), 9)", True), ("os.abort()", True), ("sys.exit(9)", False)]
)
def test_a_killed_step_is_told_from_one_that_failed(tmp_path, ending, killed):
    """By what Snakemake itself writes."""
    command = f"{sys.executable} -c 'import os, sys; {ending}'"
    (tmp_path / "Snakefile").write_text(f'rule:\n    output: "x-9"\n    shell: "{command}"\n')
    run = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(tmp_path)]
    done = subprocess.run(
        [*run, "--snakefile", str(tmp_path / "Snakefile")], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode != 0 and "CalledProcessError" in done.stderr
    assert build.was_killed(done.stderr) == killed
