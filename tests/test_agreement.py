"""Agreement of two computations: equal bits on one machine, stated bounds elsewhere."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from conftest import SETTINGS

from jpo_lib.agreement import agreement, equal_bits, within_bounds

HERE = {"device": "cpu", "machine": "one", "versions": {"jax": "1"}}
ELSEWHERE = {**HERE, "machine": "another"}


def result(solved=0.5, evaluations=20, shift=0.0, problems=400):
    dims = ("solver", "problem")
    good = (np.arange(problems) < solved * problems)[None]
    return xr.Dataset({
        "solved": (dims, good), "num_evaluations": (dims, np.full((1, problems), evaluations)),
        "x_true": ("problem", np.linspace(1, 2, problems) * (1 + shift)),
    }, coords={"solver": ["BFGS"]})


def test_equal_bits_and_what_differs():
    one = xr.Dataset({"loss": ("n", np.array([1.0, np.nan], np.float32)), "code": ("n", np.array([1, 2]))})
    assert equal_bits(one, one.copy(deep=True)) == []
    other = one.copy(deep=True)
    other["loss"][0] += 1e-3
    assert equal_bits(one, other) == ["loss differs by up to 0.001"]
    assert equal_bits(one, one.drop_vars("code")) == ["different variables"]
    assert "shape" in equal_bits(one, one.astype(np.float64))[0]


@pytest.mark.parametrize("other, words", [
    (result(), None), (result(solved=0.55), None), (result(evaluations=23), None), (result(shift=1e-6), None),
    (result(solved=0.65), "solved rate 0.650 instead of 0.500"), (result(evaluations=40), "40.0 evaluations per problem instead of 20.0"),
    (result(shift=1e-3), "x_true: relative difference"), (result(problems=100), "x_true"),
])
def test_bounds_for_another_machine(other, words):
    found = within_bounds(result(), other)
    assert found == [] if words is None else words in found[0]


def test_where_it_was_computed_decides_how_strictly_it_is_compared():
    assert agreement(result(), result(), HERE, HERE) == (True, "equal bit for bit")
    assert not agreement(result(), result(shift=1e-7), HERE, HERE)[0]
    agrees, words = agreement(result(), result(shift=1e-7), HERE, ELSEWHERE)
    assert agrees and "computed elsewhere" in words
    assert not agreement(result(), result(solved=0.9), HERE, ELSEWHERE)[0]


def test_a_cheap_reference_result_can_be_computed_again():
    """One of the cells in results/ for real: equal bits on the machine that made it, within the bounds on any other.

    In a process of its own, because the tests compile with other flags than the reference results were made with.
    """
    command = [sys.executable, "-m", "jpo_lib.cli", "verify", "billiards", "--sample", "1", "--longest", "10", "--draw", "0"]
    done = subprocess.run(command, env=SETTINGS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify    billiards/" in done.stdout and "equal" in done.stdout
