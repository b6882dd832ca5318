"""Trained networks as objects: they answer new data, come back from files, and begin further training."""

import jax
import numpy as np
import pytest

import jpo_lib as jpo
from jpo_lib.networks import Dense

PROBLEM = jpo.wave_packet()


def own(key):
    return Dense(key, inputs="targets", target_size=256, middle=[32.0], spread=[16.0], width=8)


@pytest.fixture(scope="module")
def data():
    return PROBLEM.sample_dataset(16, 31)


@pytest.fixture(scope="module")
def result(data):
    return jpo.solve(PROBLEM, data, jpo.JointOptimization(group_size=8, num_steps=5), seed=[0, 3])


def test_they_answer_known_and_new_data(data, result):
    assert result.network.lead == (2, 2)
    np.testing.assert_allclose(result.network(data), result.extras["x_final"], rtol=1e-6)
    assert result.network(PROBLEM.sample_dataset(6, 32)).shape == (2, 6, 1)
    alone = jpo.solve(PROBLEM, data, jpo.JointOptimization(group_size=8, num_steps=5), seed=3)
    assert alone.network.lead == (2,)
    np.testing.assert_array_equal(alone.network(data), result.network(data)[1])


def test_files_keep_them(data, result, tmp_path):
    """The same bits after saving and loading, and no pickle in the file: a line of text, then arrays."""
    path = tmp_path / "networks.eqx"
    result.network.save(path)
    loaded = jpo.load_networks(path, PROBLEM)
    np.testing.assert_array_equal(loaded(data), result.network(data))
    with path.open("rb") as file:
        assert b'"problem": "wave_packet"' in file.readline()
        leaves = [leaf for leaf in jax.tree.leaves(result.network) if np.ndim(leaf)]
        for leaf in leaves:
            np.testing.assert_array_equal(np.load(file, allow_pickle=False), leaf)
    alone = jpo.solve(PROBLEM, data, jpo.JointOptimization(network=own, num_steps=2), seed=1)
    alone.network.save(path)
    np.testing.assert_array_equal(jpo.load_networks(path, PROBLEM, network=own)(data), alone.network(data))
    assert sorted(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="path: expected networks of 'wave_packet' with the settings"):
        jpo.load_networks(path, jpo.wave_packet(noise=0.2))
    with pytest.raises(ValueError, match="network: expected the function that made the networks in"):
        jpo.load_networks(path, PROBLEM)


def test_training_goes_on_from_them(data, result):
    begin = result.network.start(seed=1, group=0)
    again = jpo.solve(PROBLEM, data[:8], jpo.JointOptimization(network=begin, num_steps=3), seed=7)
    np.testing.assert_allclose(again.extras["x_initial"], result.extras["x_final"][1, :8], rtol=1e-6)
    assert np.any(again.extras["x_final"] != again.extras["x_initial"])


def test_other_results_have_none(data):
    with pytest.raises(ValueError, match="expected that of a solver that trains networks, got that of BFGS"):
        _ = jpo.solve(PROBLEM, data, jpo.BFGS(max_evaluations=1)).network
