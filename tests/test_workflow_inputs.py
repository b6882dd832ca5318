"""Which studies a notebook waits for: it must never compute what another job of the build is computing."""

import sys

import pytest
from conftest import ROOT

from jpo_lib import study

sys.path.insert(0, str(ROOT / "workflow"))
import inputs


def notebook(tmp_path, code):
    path = tmp_path / "one.ipynb"
    path.write_text(inputs.json.dumps({"cells": [{"cell_type": "code", "source": [code]}]}))
    return path


@pytest.mark.parametrize("code, names", [
    ('study.load_or_run(study.plan("a", profile))', ["a"]),
    ('tables.of(study.plan("a", profile), study.plan(\n    "b_c"))', ["a", "b_c"]),
    ('study.plan(f"b_{name}", profile)', ["b_c", "b_d"]),
    ("study.load_or_run(cells)", ["a", "b_c", "b_d"]),
    ("print(1)", []),
])
def test_studies_are_found_in_the_code(tmp_path, code, names):
    assert inputs.studies_of(notebook(tmp_path, code), ["a", "b_c", "b_d"]) == names


def test_every_study_of_the_profiles_is_shown_by_a_notebook():
    waited = {name for path in inputs.list_notebooks() for name in inputs.studies_of(path, study.STUDIES)}
    assert waited == set(study.STUDIES)
