"""Result files open everywhere: the oldest h5py that pyproject.toml allows, and netCDF4 of the same time,
read from all of them what the book reads, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib

import filelock
import numpy as np
import pytest
import xarray as xr
from conftest import ROOT, SETTINGS
from packaging.requirements import Requirement
from packaging.version import Version

from jpo_book import studies
from jpo_book.studies.netcdf import read_netcdf

pytestmark = pytest.mark.long

LOCK = ROOT / "requirements" / "oldest.lock"

# Runs in the old environment. A variable is told by its type, its shape and a hash of its values.
READER = """
import hashlib, json, sys
import h5py, netCDF4, numpy as np

def fingerprint(values):
    values = np.asarray(values)
    if values.dtype.kind in "OSU":
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in values.ravel()]
        data, kind = "\\0".join(texts).encode(), "text"
    else:
        data, kind = np.ascontiguousarray(values).tobytes(), values.dtype.str
    return [kind, list(values.shape), hashlib.sha256(data).hexdigest()]

def with_h5py(path):
    with h5py.File(path) as file:
        return {name: fingerprint(item[()]) for name, item in file.items()}

def with_netcdf4(path):
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        return {name: fingerprint(variable[...]) for name, variable in file.variables.items()}

found = {path: [with_h5py(path), with_netcdf4(path)] for path in sys.stdin.read().split("\\n")}
print(json.dumps({"h5py": h5py.__version__, "netcdf4": netCDF4.__version__, "found": found}))
"""


def for_this_python(lines):
    """{name: requirement} of those that hold for the Python that runs the tests."""
    wanted = [Requirement(line) for line in lines if line and not line.startswith((" ", "#"))]
    return {item.name.lower(): item for item in wanted if item.marker is None or item.marker.evaluate()}


@pytest.fixture(scope="module")
def pinned():
    """{name: version} in the lock of the old environment."""
    lines = [line.rstrip("\\ ") for line in LOCK.read_text().splitlines()]
    return {name: str(item.specifier)[2:] for name, item in for_this_python(lines).items()}


@pytest.fixture(scope="module")
def old_python(pinned):
    """Python of an environment with the oldest readers, which is kept between runs of the tests."""
    key = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / f"oldest-{key}"
    complete, python = folder / "complete", folder / "bin" / "python"
    folder.parent.mkdir(exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            uv = [sys.executable, "-m", "uv"]
            for command in (
                [*uv, "venv", "--quiet", "--python", sys.executable, folder],
                [*uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, LOCK],
            ):
                done = subprocess.run(command, env=SETTINGS, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
            complete.touch()
    return python


def fingerprint(values):
    """As READER tells a variable; truth values are stored as bytes."""
    values = values.astype(np.int8) if values.dtype == bool else values
    if values.dtype.kind in "OSUT":
        data, kind = "\0".join(map(str, values.ravel())).encode(), "text"
    else:
        data, kind = np.ascontiguousarray(values).tobytes(), values.dtype.str
    return [kind, list(values.shape), hashlib.sha256(data).hexdigest()]


def test_they_are_the_oldest_that_pyproject_allows(pinned):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = for_this_python(project["optional-dependencies"]["notebooks"])["h5py"]
    (bound,) = wanted.specifier
    assert bound.operator == ">="
    oldest = Version(bound.version)
    # That one was not built for newer Pythons.
    assert (
        Version(pinned["h5py"]) == oldest if sys.version_info < (3, 13) else Version(pinned["h5py"]) > oldest
    )


def test_all_files_are_read_alike_bit_for_bit(old_python, pinned, tmp_path):
    cells = studies.plan("wave_packet", "smoke")
    studies.load_or_run(cells, tmp_path, quiet=True)
    fresh = [tmp_path / f"{cell.name}.nc" for cell in cells]
    paths = [*sorted((ROOT / "results").rglob("*.nc")), *fresh]
    assert len(paths) > 300
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [old_python, "-c", READER],
        input="\n".join(map(str, paths)),
        env=alone,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {name: answer[name] for name in ("h5py", "netcdf4")} == {
        name: pinned[name] for name in ("h5py", "netcdf4")
    }
    for path in paths:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            dims = {str(name): variable.dims for name, variable in stored.variables.items()}
        results = read_netcdf(path)
        ours = {name: fingerprint(results[name].transpose(*dims[name]).values) for name in dims}
        with_h5py, with_netcdf4 = answer["found"][str(path)]
        assert with_netcdf4 == ours, path.name
        assert {name: found for name, found in with_h5py.items() if name in ours} == ours, path.name
        # To HDF5 a dimension without coordinates is an array, too.
        assert set(with_h5py) - set(ours) <= set(map(str, results.sizes)), path.name
