"""Agreement of two computations: equal bits where the arithmetic is the same, stated bounds elsewhere."""

import json
import platform
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from conftest import SETTINGS

from jpo_book import studies
from jpo_book.files import sha256
from jpo_book.studies.agreement import compare, equal_bits, within_bounds
from jpo_book.studies.netcdf import read_netcdf, write_netcdf

HERE = {"machine": "one", "arithmetic": "0123456789abcdef", "versions": {"jax": "1"}}
ELSEWHERE = {**HERE, "arithmetic": "fedcba9876543210"}  # a processor of the same name
BEFORE = {
    "machine": "one",
    "versions": {"jax": "1"},
}  # a manifest that was written before there were fingerprints


def result(solved=0.5, evaluations=20, shift=0.0, problems=400):
    dims = ("solver", "problem")
    good = (np.arange(problems) < solved * problems)[None]
    return xr.Dataset(
        {
            "solved": (dims, good),
            "num_evaluations": (dims, np.full((1, problems), evaluations)),
            "x_true": ("problem", np.linspace(1, 2, problems) * (1 + shift)),
        },
        coords={"solver": ["BFGS"]},
    )


def test_equal_bits_and_what_differs():
    one = xr.Dataset({"loss": ("n", np.array([1.0, np.nan], np.float32)), "code": ("n", np.array([1, 2]))})
    assert equal_bits(one, one.copy(deep=True)) == []
    other = one.copy(deep=True)
    other["loss"][0] += 1e-3
    assert equal_bits(one, other) == ["loss differs by up to 0.001"]
    assert equal_bits(one, one.drop_vars("code")) == ["different variables"]
    assert "shape" in equal_bits(one, one.astype(np.float64))[0]


@pytest.mark.parametrize(
    "other, words",
    [
        (result(), None),
        (result(solved=0.55), None),
        (result(evaluations=23), None),
        (result(shift=1e-6), None),
        (result(solved=0.65), "solved rate 0.650 instead of 0.500"),
        (result(evaluations=40), "40.0 evaluations per problem instead of 20.0"),
        (result(shift=1e-3), "x_true: relative difference"),
        (result(problems=100), "x_true"),
    ],
)
def test_bounds_for_another_machine(other, words):
    found = within_bounds(result(), other)
    assert found == [] if words is None else words in found[0]


def test_studies_that_count_no_evaluations_are_compared_by_what_they_have():
    assert (
        within_bounds(
            result().drop_vars("num_evaluations"), result(evaluations=40).drop_vars("num_evaluations")
        )
        == []
    )
    assert (
        "solved rate"
        in within_bounds(
            result().drop_vars("num_evaluations"), result(solved=0.9).drop_vars("num_evaluations")
        )[0]
    )


def test_a_loss_at_the_truth_that_is_round_off_is_compared_with_the_threshold():
    def losses(at_truth):
        return result().assign(
            loss_at_truth=("problem", np.full(400, at_truth)), threshold=("problem", np.full(400, 0.1))
        )

    assert within_bounds(losses(0.0), losses(1e-12)) == []
    assert "loss_at_truth: relative difference" in within_bounds(losses(0.0), losses(1e-3))[0]
    assert "loss_at_truth: relative difference" in within_bounds(losses(5.0), losses(5.01))[0]


def test_the_arithmetic_decides_how_strictly_results_are_compared():
    assert compare(result(), result(), HERE, HERE) == (True, "equal bit for bit")
    assert not compare(result(), result(shift=1e-7), HERE, {**HERE, "machine": "another name"})[0]
    for other in (ELSEWHERE, {**HERE, "versions": {"jax": "2"}}, {**HERE, "compiler_flags": "--other"}):
        agrees, words = compare(result(), result(shift=1e-7), HERE, other)
        assert agrees and "another arithmetic" in words
        assert not compare(result(), result(solved=0.9), HERE, other)[0]
    assert (
        compare(result(), result(shift=1e-7), BEFORE, HERE)[0]
        and compare(result(), result(shift=1e-7), BEFORE, BEFORE)[0]
    )


PRINT = "from jpo_book.studies.arithmetic import fingerprint; print(fingerprint())"


def with_instructions(instructions):
    """Settings under which XLA uses these instructions at most, as on an older processor."""
    return {**SETTINGS, "XLA_FLAGS": f"--xla_cpu_max_isa={instructions}"}


def fingerprint_of(settings):
    return subprocess.run(
        [sys.executable, "-c", PRINT], env=settings, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """(a cell of the smoke profile, the folder of its files),
    computed with all instructions that this processor has."""
    folder = tmp_path_factory.mktemp("studies")
    cell = next(cell for cell in studies.plan("wave_packet", "smoke") if cell.kind == "joint")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "jpo_book.cli",
            "study",
            "wave_packet",
            "--profile",
            "smoke",
            "--cell",
            cell.name,
            "--folder",
            str(folder),
        ],
        env=SETTINGS,
        check=True,
        capture_output=True,
    )
    return cell, folder


def verify(folder, settings=SETTINGS):
    command = [
        sys.executable,
        "-m",
        "jpo_book.cli",
        "verify",
        "wave_packet",
        "--profile",
        "smoke",
        "--folder",
        str(folder),
        "--sample",
        "1",
    ]
    return subprocess.run(command, env=settings, capture_output=True, text=True)


def test_the_same_arithmetic_must_give_the_same_bits(verified):
    cell, folder = verified
    path = folder / f"{cell.name}.nc"
    again = verify(folder)
    assert again.returncode == 0 and "equal bit for bit" in again.stdout, again.stdout + again.stderr
    manifest, whole = json.loads(path.with_suffix(".json").read_text()), path.read_bytes()
    assert manifest["arithmetic"] == fingerprint_of({**SETTINGS, "XLA_FLAGS": manifest["compiler_flags"]})
    results = read_netcdf(path)
    results["loss"].values.view(np.uint32)[0, 0, 0] ^= 1  # the last bit of one number
    write_netcdf(results, path)
    path.with_suffix(".json").write_text(
        json.dumps({**manifest, "sha256": sha256(path), "machine": "a processor of another name"})
    )
    spoilt = verify(folder)
    path.write_bytes(whole)
    path.with_suffix(".json").write_text(json.dumps(manifest))
    assert spoilt.returncode == 1 and "loss differs by up to" in spoilt.stdout


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the names of instruction sets are those of this architecture"
)
@pytest.mark.parametrize("instructions", ["AVX", "SSE4_2"])
def test_a_processor_of_the_same_name_with_other_instructions_agrees_within_bounds(verified, instructions):
    assert fingerprint_of(with_instructions(instructions)) != fingerprint_of(SETTINGS)
    done = verify(verified[1], with_instructions(instructions))
    assert done.returncode == 0 and "within the bounds" in done.stdout, done.stdout + done.stderr


def test_a_cheap_reference_result_can_be_computed_again():
    """One of the cells in results/ for real: equal bits where the arithmetic is the same, within the bounds
    where it is not.

    In a process of its own, because the tests compile with other flags
    than the reference results were made with.
    """
    command = [
        sys.executable,
        "-m",
        "jpo_book.cli",
        "verify",
        "billiards",
        "--sample",
        "1",
        "--longest",
        "10",
        "--draw",
        "0",
    ]
    done = subprocess.run(command, env=SETTINGS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify    billiards/" in done.stdout and "equal" in done.stdout
