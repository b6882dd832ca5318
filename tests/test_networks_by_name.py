"""Networks named by plain data:
the same name is the same function, options do what they say, and mistakes are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jpo_lib as jpo
from jpo_book.studies.named_networks import named_network
from jpo_book.studies.run_solvers import run_joint

WAVE, BILLIARDS, CHAOS = jpo.wave_packet(), jpo.billiards(), jpo.kuramoto_sivashinsky()
KEY = jax.random.key(0)


def test_equal_descriptions_give_the_same_function():
    one = named_network(BILLIARDS, {"width": 16, "depth": 3})
    assert one is named_network(BILLIARDS, {"depth": 3, "width": 16})
    assert one is not named_network(BILLIARDS, {"width": 16}) and one is not named_network(
        jpo.billiards(layout="blocked"), {"width": 16, "depth": 3}
    )
    assert named_network(BILLIARDS, {}) is named_network(BILLIARDS, {"architecture": "recommended"})


def test_the_options_are_those_of_the_network():
    sizes = [weight.shape for weight in named_network(BILLIARDS, {"width": 16, "depth": 3})(KEY).weights]
    assert sizes == [(2, 16), (16, 16), (16, 16), (16, 2)]
    assert [layer.weight.shape for layer in named_network(WAVE, {"channels": 4, "depth": 1})(KEY).layers] == [
        (9, 1, 4)
    ]
    assert named_network(CHAOS, {"equivariant": False})(KEY).equivariant is False
    # What the recommended network has already changes nothing, not even the first weights.
    for problem, spec in ((WAVE, {"depth": 2}), (BILLIARDS, {"width": 64})):
        for a, b in zip(
            jax.tree.leaves(problem.recommended.network(KEY)),
            jax.tree.leaves(named_network(problem, spec)(KEY)),
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("architecture", ["dense", "convolution"])
def test_other_architectures_read_the_target_and_its_context(architecture):
    network = named_network(CHAOS, {"architecture": architecture, "width": 8})(KEY)
    y, context = jax.random.normal(KEY, (2, 128))
    x = network(y, context, None)
    assert (
        x.shape == (2,)
        and bool((x != network(context, context, None)).all())
        and bool((x != network(y, y, None)).all())
    )


def test_only_the_recommended_network_has_the_symmetry_of_the_wave_packet():
    signal = WAVE.simulate(jnp.array([30.0]), None)
    moved = jnp.roll(signal, 20)  # by 5 time units
    errors = {}
    for name in ("recommended", "dense", "convolution"):
        network = named_network(WAVE, {"architecture": name})(KEY)
        errors[name] = abs(float((network(moved) - network(signal))[0]) - 5.0)
    assert errors["recommended"] < 1e-3 < 1.0 < min(errors["dense"], errors["convolution"])


def test_a_study_takes_a_named_network():
    data = WAVE.sample_dataset(8, 2)
    study, _ = run_joint(WAVE, 8, 2, 8, (0,), {"num_steps": 2, "network": {"channels": 4}})
    direct = jpo.solve(
        WAVE, data, jpo.JointOptimization(num_steps=2, network=named_network(WAVE, {"channels": 4})), seed=0
    )
    np.testing.assert_array_equal(study.x.sel(solver="Joint").isel(network_seed=0), direct.x)


@pytest.mark.parametrize(
    "problem, spec, words",
    [
        (WAVE, "dense", "expected names with values such as {\"width\": 16}, got 'dense'"),
        (
            WAVE,
            {"architecture": "transformer"},
            "expected architecture to be one of recommended, dense, convolution, got 'transformer'",
        ),
        (
            WAVE,
            {"width": 16},
            "expected options of EnergyCentroid1D (stride, channels, depth, kernel_size, contrast), "
            "got 'width'",
        ),
        (BILLIARDS, {"width": "16"}, "expected int for width as in 64, got '16'"),
        (BILLIARDS, {"depth": 0}, "expected depth to be at least 1, got 0"),
        (
            BILLIARDS,
            {"target_middle": 1.0},
            "expected options of DenseVelocity (width, depth), got 'target_middle'",
        ),
        (
            jpo.navier_stokes(num_points=24, horizon=0.8),
            {"architecture": "convolution"},
            "expected a target along one axis",
        ),
    ],
)
def test_mistakes_are_refused_in_one_sentence(problem, spec, words):
    with pytest.raises(ValueError) as caught:
        named_network(problem, spec)
    assert words in str(caught.value) and "\n" not in str(caught.value)
