"""The compilation cache heals after a kill; short programs are compiled with the flags
that the locked compiler knows."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jpo_book.run import compilation


def test_half_written_entries_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "LOCK_SECONDS", 0.1)
    for name in ("whole-cache", "whole-atime", "torn-cache"):
        (tmp_path / name).write_bytes(b"x")
    script = "import filelock, sys\nwith filelock.FileLock(sys.argv[1]): print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / ".lockfile"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writing:
        assert writing.stdout is not None
        writing.stdout.readline()
        assert compilation.remove_unfinished(tmp_path) == 0, "another process may be about to complete it"
        writing.kill()
    assert compilation.remove_unfinished(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.glob("*-*")) == ["whole-atime", "whole-cache"]
    assert compilation.remove_unfinished(tmp_path / "not there") == 0


def test_jax_can_write_again_after_a_kill_and_an_entry_is_torn_as_we_expect(tmp_path):
    """JAX's own cache, written by real processes:
    a torn entry stops it, and removing that entry is enough."""
    script = (
        "import jax, warnings; warnings.simplefilter('error'); "
        "jax.jit(lambda x: x * {0} + 1)({0}.0).block_until_ready()"
    )
    settings = {**os.environ, **compilation.settings(tmp_path)}

    def run(number):
        return subprocess.run(
            [sys.executable, "-c", script.format(number)], env=settings, capture_output=True, text=True
        )

    assert run(2).returncode == 0
    entries = sorted(tmp_path.glob("*-cache"))
    assert entries and all(entry.with_name(entry.name[:-6] + "-atime").exists() for entry in entries)
    entries[0].with_name(entries[0].name[:-6] + "-atime").unlink()
    torn = run(3)
    assert torn.returncode and "Error writing persistent compilation cache" in torn.stderr
    assert compilation.remove_unfinished(tmp_path) == 1
    assert run(4).returncode == 0 and len(list(tmp_path.glob("*-cache"))) >= len(entries)


def test_commands_find_the_programs_of_earlier_ones_and_leave_other_folders_alone(tmp_path):
    """As a user calls `jpo`, without the settings of a build:
    what one command has kept is there after the next."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    script = (
        "import sys; sys.argv = ['jpo', '--version']; from jpo_book import cli\n"
        "from pathlib import Path; cli.root_folder = lambda: Path({0!r})\n"
        "try: cli.main()\nexcept SystemExit: pass\nimport jax; jax.jit(lambda x: x + 1)(1.0)"
    )

    def command(settings=clean):
        subprocess.run(
            [sys.executable, "-c", script.format(str(tmp_path))],
            env=settings,
            check=True,
            capture_output=True,
        )
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".cache").glob("jax-*/*-cache")}

    first = command()
    assert first and command() == first
    foreign = tmp_path / "of the user"
    foreign.mkdir()
    (foreign / "theirs-cache").write_bytes(b"x")  # without a limit JAX writes no times
    assert (
        command({**clean, "JAX_COMPILATION_CACHE_DIR": str(foreign)}) == first
        and (foreign / "theirs-cache").exists()
    )


def test_flags_for_short_programs_are_those_of_the_locked_compiler(monkeypatch, capsys):
    """XLA ends the process where it does not know a flag: after `make lock UPGRADE=1`, see whether these
    flags still exist."""
    lock = (Path(__file__).resolve().parents[1] / "requirements" / "cpu.lock").read_text()
    assert f"jaxlib=={compilation.KNOWN_TO} " in lock
    assert importlib.metadata.version("jaxlib") == compilation.KNOWN_TO
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    ours = ["--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false"]
    assert compilation.quick_flags(0).split() == [*ours, "--xla_backend_optimization_level=2"]
    monkeypatch.setattr(compilation, "KNOWN_TO", "0.0")
    assert compilation.quick_flags(0) == "--xla_backend_optimization_level=2"
    compilation.prepare("smoke")
    assert "programs are compiled with all passes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "profile, changed", [("smoke", "level=0"), ("laptop", "level=1"), ("paper", ""), ("published", "")]
)
def test_long_profiles_are_compiled_as_jax_does(monkeypatch, profile, changed):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    compilation.prepare(profile)
    flags = os.environ["XLA_FLAGS"]
    assert changed in flags if changed else not flags
