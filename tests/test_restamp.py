"""Restamping: a change of code that leaves all bits as they are, and one that does not, in a small clone."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from jpo_book import studies


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """(folder of a repository with both packages, the manifest of its one reference result)"""
    folder = tmp_path_factory.mktemp("clone")
    for package in ("jpo_lib", "jpo_book"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", folder)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "none.md").touch()
    cell = next(cell for cell in studies.plan("wave_packet", "smoke") if cell.kind == "joint")
    studies.run_cell(cell, folder / "results")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        [*identity, "commit", "--quiet", "--message", "Begin"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder, folder / "results" / f"{cell.name}.json"


def restamp(folder):
    command = [
        sys.executable,
        "-m",
        "jpo_book.cli",
        "restamp",
        "--since",
        "HEAD",
        "--why",
        "The order of factors.",
    ]
    settings = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)


@pytest.mark.parametrize(
    "factors, equal",
    [("jnp.sum(jnp.square(output - y)) * 0.5", True), ("0.51 * jnp.sum(jnp.square(output - y))", False)],
)
def test_only_what_keeps_all_bits_is_restamped(clone, factors, equal):
    folder, path = clone
    source, manifest = folder / "jpo_lib" / "problems" / "wave_packet.py", path.read_text()
    original = source.read_text()
    assert original.count("0.5 * jnp.sum(jnp.square(output - y))") == 1
    source.write_text(original.replace("0.5 * jnp.sum(jnp.square(output - y))", factors))
    done = restamp(folder)
    before, after = json.loads(manifest), json.loads(path.read_text())
    source.write_text(original)
    path.write_text(manifest)
    assert done.returncode == (0 if equal else 1), done.stdout + done.stderr
    assert "1 results are stale; 1 shortened cells" in done.stdout
    if equal:
        assert after["source_hash"] != before["source_hash"] and after["sha256"] == before["sha256"]
        assert after["restamped"][0]["from"] == {"source_hash": before["source_hash"]}
        assert after["restamped"][0]["why"] == "The order of factors." and "equal bit for bit" in done.stdout
    else:
        assert after == before and "loss differs by up to" in done.stdout
    worktrees = subprocess.run(["git", "worktree", "list"], cwd=folder, capture_output=True, text=True).stdout
    assert worktrees.count("\n") == 1, "the code of the commit is removed again"
