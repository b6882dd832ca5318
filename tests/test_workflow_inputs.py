"""Which studies a notebook waits for: it must never compute what another job of the build is computing.
And how far a build is."""

import json
import os
import sys
import time

import pytest
from conftest import ROOT

from jpo_book import studies

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
