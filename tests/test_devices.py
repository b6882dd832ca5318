"""Several devices: the same solutions as on one, and no exchange but that of a shared network's gradient."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from devices_run import solve_all

import jpo_lib as jpo
from jpo_lib.solvers.devices import check_shares

SCRIPT = Path(__file__).with_name("devices_run.py")


@pytest.fixture(scope="module")
def one_device():
    return solve_all(None)


def run(num_devices, *arguments):
    settings = {
        **os.environ,
        "PYTHONPATH": str(SCRIPT.parent.parent),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={num_devices}",
    }
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    process = run(8, folder)
    report = process.communicate(timeout=500)[0]
    assert process.returncode == 0, report
    return dict(np.load(folder / "results.npz")), json.loads((folder / "programs.json").read_text())


def assert_equal_up_to_rounding(results, reference):
    """Eight steps of training leave rounding as small as it is.
    Twenty evaluations of BFGS may decide a line search otherwise."""
    assert "one/x" in results
    for name in results:
        expected = reference[name]
        if "BFGS" not in name:
            np.testing.assert_allclose(results[name], expected, rtol=2e-3, atol=2e-4, err_msg=name)
        elif name.endswith("loss"):
            close = np.isclose(results[name], expected, rtol=1e-2, atol=1e-3)
            assert close.mean() >= 0.95, f"{name}: {close.mean():.2f}"


def test_eight_devices_find_what_one_finds(one_device, eight_devices):
    assert_equal_up_to_rounding(eight_devices[0], one_device)


def test_devices_exchange_nothing_but_the_gradient_of_a_shared_network(eight_devices):
    collectives = {}
    for name, operations in eight_devices[1]:
        collectives.setdefault(name, []).append(operations)
    learning = collectives.pop("learn")
    assert any(not operations for operations in learning), "networks of their own share nothing"
    assert any(operations for operations in learning), "the problems of one network share its gradient"
    assert {operation for operations in learning for operation in operations} == {"all-reduce"}
    assert set(collectives) >= {"evaluate_one", "begin_one", "update", "gather", "propose"}
    assert not any(operations for found in collectives.values() for operations in found), collectives


def test_two_processes_find_what_one_finds(one_device, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [run(2, tmp_path, port, number, 2) for number in range(2)]
    reports = [process.communicate(timeout=500)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(reports)
    assert_equal_up_to_rounding(dict(np.load(tmp_path / "results.npz")), one_device)


@pytest.mark.parametrize(
    "devices, words",
    [
        (0, "expected 1 to"),
        (10_000, "ask for fewer"),
        (True, "a number or a sequence"),
        ("gpu", "different JAX devices"),
        ([], "at least one"),
        ([3], "different JAX devices"),
    ],
)
def test_devices_that_are_not_there_are_refused(devices, words):
    problem = jpo.wave_packet()
    with pytest.raises(ValueError, match=words):
        jpo.solve(problem, problem.sample_dataset(4), jpo.BFGS(), devices=devices)


def test_shares_that_do_not_come_out_even_are_refused():
    three = jax.sharding.AbstractMesh((3,), ("devices",))
    check_shares(None, 4, "problems")
    # An abstract mesh stands for three devices: this machine need not have them.
    check_shares(three, 6, "problems")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="divisor of the 4 problems, got 3 devices"):
        check_shares(three, 4, "problems")  # pyright: ignore[reportArgumentType]  (as above)
