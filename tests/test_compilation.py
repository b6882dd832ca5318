"""The compilation cache heals after a kill and after damages; short programs are compiled with the flags
that the locked compiler knows."""

import importlib.metadata
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from jpo_book.run import compilation


def test_half_written_entries_are_removed_and_no_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compilation, "LOCK_SECONDS", 0.1)
    for name in ("whole-cache", "whole-atime", "torn-cache", "cut-atime"):
        (tmp_path / name).write_bytes(zlib.compress(b"x"))
    (tmp_path / "cut-cache").write_bytes(zlib.compress(b"x")[:-1])
    script = "import filelock, sys\nwith filelock.FileLock(sys.argv[1]): print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / ".lockfile"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writing:
        assert writing.stdout is not None
        writing.stdout.readline()
        assert compilation.remove_damaged(tmp_path) == 0, "another process may be about to complete it"
        writing.kill()
    assert compilation.remove_damaged(tmp_path) == 2
    assert sorted(p.name for p in tmp_path.glob("*-*")) == ["whole-atime", "whole-cache"]
    assert capsys.readouterr().err.count("2 damaged entries") == 1
    assert compilation.remove_damaged(tmp_path / "not there") == 0


def programs(folder, *numbers):
    """A process that computes 10 k + 1 for each number k in a program of its own, with its cache in a folder.
    Returns (the values, what was warned of)."""
    script = (
        "import jax, sys\nfor k in map(float, sys.argv[1:]):\n"
        "    def times(x): return x * k + 1\n"
        "    times.__name__ = f'times_{k:.0f}'; print(float(jax.jit(times)(10.0)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, numbers)],
        env={**os.environ, **compilation.settings(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(line) for line in done.stdout.split()], done.stderr


def entry(folder, number):
    (path,) = folder.glob(f"jit_times_{number}-*-cache")
    return path


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "new"])
def test_damaged_entries_are_found_removed_and_made_again(tmp_path, recorded, capsys):
    """Real entries of JAX, which itself never replaces them: it warns at each run,
    or computes with the wrong program."""
    numbers, right = (2, 3, 4, 5, 6), [21.0, 31.0, 41.0, 51.0, 61.0]
    assert programs(tmp_path, *numbers) == (right, "")
    if recorded:
        assert compilation.remove_damaged(tmp_path) == 0
    intact = entry(tmp_path, 6).read_bytes()
    whole = entry(tmp_path, 2).read_bytes()
    entry(tmp_path, 2).write_bytes(whole[: len(whole) // 2])
    entry(tmp_path, 3).write_bytes(b"")
    flipped = bytearray(entry(tmp_path, 4).read_bytes())
    flipped[len(flipped) // 2] ^= 4
    entry(tmp_path, 4).write_bytes(flipped)
    num_damaged = 3
    if recorded:  # whole in itself, but of another program
        entry(tmp_path, 5).write_bytes(intact)
        num_damaged = 4
    values, warnings = programs(tmp_path, *numbers)
    assert warnings.count("Error reading persistent compilation cache") == 3
    assert values == ([21.0, 31.0, 41.0, 61.0, 61.0] if recorded else right)
    assert entry(tmp_path, 4).read_bytes() == flipped, "JAX has learnt to replace entries"

    assert compilation.remove_damaged(tmp_path) == num_damaged
    assert f"{num_damaged} damaged entries" in capsys.readouterr().err
    assert programs(tmp_path, *numbers) == (right, "")
    assert entry(tmp_path, 6).read_bytes() == intact
    assert all(zlib.decompress(entry(tmp_path, number).read_bytes()) for number in numbers)
    assert compilation.remove_damaged(tmp_path) == 0 and not capsys.readouterr().err


def test_a_damaged_record_of_hashes_spoils_nothing(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}-cache").write_bytes(zlib.compress(name.encode()))
        (tmp_path / f"{name}-atime").write_bytes(b"12345678")
    assert compilation.remove_damaged(tmp_path) == 0
    record = tmp_path / "whole.json"
    written = record.read_bytes()
    for content in (b"", written[:-9], b"[1]", b"null", b"\xff"):
        record.write_bytes(content)
        assert compilation.remove_damaged(tmp_path) == 0 and record.read_bytes() == written


def test_a_build_judges_entries_once_and_new_ones_when_they_appear(tmp_path):
    for name, content in (("a", zlib.compress(b"a")), ("b", b"not packed")):
        (tmp_path / f"{name}-cache").write_bytes(content)
        (tmp_path / f"{name}-atime").write_bytes(b"12345678")
        assert compilation.remove_damaged(tmp_path, everything=False) == (name == "b")
    (tmp_path / "a-cache").write_bytes(b"spoilt")
    assert compilation.remove_damaged(tmp_path, everything=False) == 0
    assert compilation.remove_damaged(tmp_path) == 1


def test_jax_can_write_again_after_a_kill_and_an_entry_is_torn_as_we_expect(tmp_path):
    """A torn entry stops JAX's cache, and removing that entry is enough."""
    assert programs(tmp_path, 2) == ([21.0], "")
    entry(tmp_path, 2).with_name(f"{entry(tmp_path, 2).name[:-6]}-atime").unlink()
    assert "Error writing persistent compilation cache" in programs(tmp_path, 3)[1]
    assert compilation.remove_damaged(tmp_path) == 1
    assert programs(tmp_path, 4) == ([41.0], "") and entry(tmp_path, 4).exists()


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for name in compilation.settings(tmp_path):
        monkeypatch.delenv(name, raising=False)
    compilation.keep_programs(tmp_path / "file" / "jax")
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    compilation.keep_programs(tmp_path / "folder" / "jax")
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "folder" / "jax")


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
