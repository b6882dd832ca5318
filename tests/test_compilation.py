"""The compilation cache heals after a kill; short programs are compiled with the flags that the locked compiler knows."""

import importlib.metadata
import os
import time
from pathlib import Path

import pytest

from jpo_lib import compilation


def test_half_written_entries_are_removed_and_no_others(tmp_path):
    old = time.time() - 1000
    for name in ("whole-cache", "whole-atime", "torn-cache"):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (old, old))
    (tmp_path / "young-cache").write_bytes(b"x")
    assert compilation.remove_unfinished(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["whole-atime", "whole-cache", "young-cache"]
    assert compilation.remove_unfinished(tmp_path / "not there") == 0


def test_flags_for_short_programs_are_those_of_the_locked_compiler(monkeypatch):
    """XLA ends the process where it does not know a flag: after `make lock UPGRADE=1`, see whether these flags still exist."""
    lock = (Path(__file__).resolve().parents[1] / "requirements" / "cpu.lock").read_text()
    assert f"jaxlib=={compilation.KNOWN_TO} " in lock
    assert importlib.metadata.version("jaxlib") == compilation.KNOWN_TO
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    ours = ["--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false"]
    assert compilation.quick_flags(0).split() == [*ours, "--xla_backend_optimization_level=2"]
    monkeypatch.setattr(compilation, "KNOWN_TO", "0.0")
    assert compilation.quick_flags(0) == "--xla_backend_optimization_level=2"


@pytest.mark.parametrize("profile, changed", [("smoke", "level=0"), ("laptop", "level=1"), ("paper", ""), ("published", "")])
def test_long_profiles_are_compiled_as_jax_does(monkeypatch, profile, changed):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    compilation.prepare(profile)
    flags = os.environ["XLA_FLAGS"]
    assert changed in flags if changed else not flags
