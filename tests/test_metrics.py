"""Comparisons and intervals."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jpo_lib as jpo
from jpo_lib.metrics import outcome

losses = st.lists(
    st.one_of(st.floats(1e-8, 1e8), st.just(float("inf")), st.just(float("nan"))), min_size=1, max_size=20
)


def study(loss, solved=False):
    loss = np.asarray(loss, float)
    return xr.Dataset({"loss": ("problem", loss), "solved": ("problem", np.broadcast_to(solved, loss.shape))})


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_interval_agrees_with_scipy(total, fraction, confidence):
    count = round(fraction * total)
    ours = jpo.wilson_interval(count, total, confidence)
    theirs = scipy.stats.binomtest(count, total).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("count, total", [(1, 0), (-1, 4), (5, 4), (float("nan"), 4)])
def test_impossible_counts_are_refused(count, total):
    with pytest.raises(ValueError, match="expected 0 <= count <= total"):
        jpo.wilson_interval(count, total)


@given(losses, st.randoms())
def test_comparison_is_antisymmetric_and_complete(values, random):
    other = list(values)
    random.shuffle(other)
    forth, back = jpo.compare(study(values), study(other)), jpo.compare(study(other), study(values))
    assert forth.better.count == back.worse.count and forth.tie.count == back.tie.count
    assert forth.better.count + forth.tie.count + forth.worse.count == len(values)


@given(losses)
def test_everything_ties_with_itself(values):
    assert jpo.compare(study(values), study(values)).tie.value == 1.0


def test_two_solved_problems_tie_and_tolerance_is_relative():
    signs = outcome(
        [1e-12, 1.0, 1.0, 2.0, np.nan, 1.0],
        [True, False, False, False, False, True],
        [1e-4, 1.0005, 1.01, 1.0, 5.0, np.inf],
        [True, False, False, False, False, False],
    )
    np.testing.assert_array_equal(signs, [0, 0, 1, -1, -1, 1])


def test_strictly_better_would_call_noise_a_success():
    """Two runs that both fail, with losses that differ by round-off, are a tie and not a coin toss."""
    generator = np.random.default_rng(0)
    failed = 5.0 + 1e-5 * generator.standard_normal(1000)
    again = 5.0 + 1e-5 * generator.standard_normal(1000)
    assert 0.4 < np.mean(failed < again) < 0.6
    assert jpo.compare(study(failed), study(again)).tie.value == 1.0


def test_different_problems_are_refused():
    with pytest.raises(ValueError, match="3 and 4 problems"):
        jpo.compare(study(np.ones(3)), study(np.ones(4)))
    with pytest.raises(ValueError, match="tolerance"):
        jpo.compare(study(np.ones(3)), study(np.ones(3)), tolerance=-1.0)
