"""One accounting of costs for all methods."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from jpo_book.analysis.costs import crossing, joint_costs
from jpo_book.pages.tables import crossing_with_interval, crossing_words, spacing
from jpo_book.studies.run_solvers import solved_at
from jpo_lib.metrics import cost_to_solve


def test_costs_of_a_case_worked_out_by_hand():
    at, total = np.array([3, 10, 0, 5]), np.array([3, 10, 40, 5])
    # Half of four problems are solved with the budget 5: spent are 3, 5, 5, 5.
    assert cost_to_solve(at, total, 0, 0.5) == 4.5
    # Three quarters need the budget 10: 3, 10, 10, 5.
    assert cost_to_solve(at, total, 0, 0.75) == 7.0
    assert np.isnan(cost_to_solve(at, total, 0, 1.0))
    # Training of 8 goes on whatever is solved, but not beyond the budget.
    assert cost_to_solve(at, total, 8, 0.75) == (8 + 10 + 10 + 8) / 4
    assert cost_to_solve(at, total, 8, 0.5) == 5.0
    # An unsolved problem that gave up spends no more than it used.
    assert cost_to_solve(at, np.array([3, 10, 6, 5]), 0, 0.75) == (3 + 10 + 6 + 5) / 4


@settings(max_examples=50, deadline=None)
@given(
    at=st.lists(st.integers(0, 50), min_size=1, max_size=30),
    training=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_costs_rise_with_the_fraction_and_with_training_and_stay_below_what_was_used(at, training, seed):
    at = np.array(at)
    total = np.maximum(at, training) + np.random.default_rng(seed).integers(0, 20, at.size) * (at == 0)
    costs = np.array([cost_to_solve(at, total, training, p) for p in (0.1, 0.5, 0.9, 1.0)])
    found = costs[~np.isnan(costs)]
    assert (np.diff(found) >= 0).all() and (found <= np.maximum(total, 1).max()).all()
    assert np.isnan(costs[-1]) == (at == 0).any()
    assert not (costs < np.array([cost_to_solve(at, total, 0, p) for p in (0.1, 0.5, 0.9, 1.0)])).any()


def test_the_first_evaluation_below_the_threshold_counts():
    history = np.array([[3.0, 2.0, 0.5, 0.1], [3.0, 3.0, 3.0, 3.0], [0.2, 0.2, 0.1, 0.0]])
    assert solved_at(history, np.array([1.0, 1.0, 1.0])).tolist() == [3, 0, 1]
    assert solved_at(np.stack([history, history]), np.array([1.0, 5.0, 0.05])).tolist() == [[3, 1, 4]] * 2


def made_up(at_by_size, training):
    """A study of 40 problems in which all are solved after the given number of evaluations of refinement."""
    sizes, shape = list(at_by_size), (1, len(at_by_size), 2, 2, 40)
    at = np.zeros(shape, int)
    for k, n in enumerate(sizes):
        at[0, k, 1] = training[n] + at_by_size[n]
        at[0, k, 0] = 0
    evaluations = at.copy()
    evaluations[:, :, 0] = np.array([training[n] for n in sizes])[None, :, None, None]
    dims = ("data_seed", "group_size", "solver", "network_seed", "problem")
    return xr.Dataset(
        {"solved_at": (dims, at), "num_evaluations": (dims, evaluations)},
        coords={"group_size": sizes, "solver": ["Joint", "JointRefined"], "data_seed": [0]},
    )


def test_the_crossing_is_where_joint_optimization_gets_cheaper():
    joint = made_up({1: 5, 16: 5, 256: 5}, {1: 100, 16: 40, 256: 2})
    opponent = xr.Dataset(
        {
            "solved_at": (("data_seed", "problem"), np.full((1, 40), 20)),
            "num_evaluations": (("data_seed", "problem"), np.full((1, 40), 20)),
        }
    )
    np.testing.assert_array_equal(joint_costs(joint, 0.9).isel(data_seed=0, network_seed=0), [105, 45, 7])
    assert crossing(joint, opponent, 0.9, num_resamples=20) == {
        "value": 256.0,
        "low": 256.0,
        "high": 256.0,
        "largest": 256.0,
    }
    assert crossing(joint, opponent * 0 + 5, 0.9, num_resamples=20)["value"] == np.inf
    assert crossing(joint, opponent * 0 + 50, 0.9, num_resamples=20)["value"] == 16.0


def test_a_fraction_that_nobody_solves_has_no_crossing_point():
    joint = made_up({1: 5, 16: 5}, {1: 100, 16: 40})
    never = {
        "solved_at": (("data_seed", "problem"), np.zeros((1, 40), int)),
        "num_evaluations": (("data_seed", "problem"), np.full((1, 40), 20)),
    }
    opponent = xr.Dataset(never)
    assert crossing(joint, opponent, 0.9, num_resamples=20)["value"] == 1.0  # only JPO solves as many
    joint["solved_at"] = 0 * joint.solved_at
    nobody = crossing(joint, opponent, 0.9, num_resamples=20)
    assert np.isnan(nobody["value"]) and crossing_words(nobody) == "undefined" == crossing_with_interval(
        nobody
    )
    always = opponent.assign(solved_at=opponent.num_evaluations)
    assert crossing_words(crossing(joint, always, 0.9, num_resamples=20)) == "more than 16"


def test_gaps_between_tested_sizes_are_computed():
    assert spacing([256, 1024, 4096]) == "a factor of 4" and spacing([1, 64, 256]) == "factors of 4 to 64"
    assert spacing([16]) == "(only one was tested)"


def test_restarts_count_where_the_problem_recommends_them():
    joint = made_up({1: 5}, {1: 10})
    restarted = joint.sel(solver=["JointRefined"]).assign_coords(solver=["JointRestarted"]) - 2
    both = xr.concat([joint, restarted], "solver")
    assert (
        float(joint_costs(both, 0.9)[0, 0, 0]) == 13
        and float(joint_costs(both, 0.9, "JointRefined")[0, 0, 0]) == 15
    )


@pytest.mark.parametrize("fraction", [0.0, 1.1, -1])
def test_bad_input_is_refused_in_one_sentence(fraction):
    with pytest.raises(ValueError, match="fraction: expected a number above 0 and at most 1"):
        cost_to_solve([1], [1], 0, fraction)
