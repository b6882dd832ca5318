"""How much XLA optimizes programs that run for seconds only, and JAX's persistent cache of programs.

The cache recovers when a process was killed while writing, and when its files were damaged.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import filelock

from jpo_book.files import cpu_model, sha256, write_atomically

LOCK_SECONDS = 10
ENTRY = "-cache"  # how JAX ends the names of entries

# In these profiles, compiling with all of XLA's passes takes longer than what the faster programs win. With
# level 1, cells of `laptop` that compile took a quarter less CPU time on two cores, and training no longer.
# With level 0 programs run four times longer and compile in half the time: the whole `smoke` build took 231
# instead of 314 s, notebooks of `laptop` more.
LEVELS = {"smoke": 0, "laptop": 1}
KNOWN_TO = "0.10.2"  # this jaxlib: XLA ends the process where it meets a flag that it does not know


def quick_flags(level: int = 1) -> str:
    """Flags of XLA for programs that run for seconds only, followed by those of the user, which count more.

    level: how much XLA optimizes, 0 or 1.

    Only the user's, where jaxlib is another one than that of the lock, or where programs run on a GPU.
    """
    given = os.environ.get("XLA_FLAGS", "")
    on_cpu = find_spec("jax_plugins") is None and os.environ.get("JAX_PLATFORMS", "cpu") in ("", "cpu")
    if not on_cpu or importlib.metadata.version("jaxlib") != KNOWN_TO:
        return given
    flags = (f"--xla_backend_optimization_level={level}", "--xla_cpu_use_fusion_emitters=false")
    return " ".join([*(flag for flag in flags if flag not in given), *given.split()])


def prepare(profile: str) -> None:
    """Choose the flags of XLA for a profile, before JAX compiles anything;
    processes that are started inherit them."""
    if profile not in LEVELS:
        return
    if (installed := importlib.metadata.version("jaxlib")) != KNOWN_TO:
        what = "programs are compiled with all passes, which takes longer"
        print(f"jpo: jaxlib is {installed}, not {KNOWN_TO}: {what}.", file=sys.stderr)
    os.environ["XLA_FLAGS"] = quick_flags(LEVELS[profile])


def settings(folder: Path) -> dict[str, str]:
    """Environment variables for all processes that share the cache in `folder`."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        # A notebook has a hundred small programs; together they cost as much as a large one.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # With a limit, JAX locks its cache: processes never read what another is still writing.
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(2 * 1024**3),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share a GPU
    }


def keep_programs(folder: Path) -> None:
    """Let JAX keep its programs in a folder of ours, which is put in order;
    one that the user has named is left alone."""
    if os.environ.get("JAX_COMPILATION_CACHE_DIR", str(folder)) == str(folder):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):  # JAX would complain at each program
            return
        for name, value in settings(folder).items():
            os.environ.setdefault(name, value)
        remove_damaged(folder, everything="JPO_BUILD" not in os.environ)


def programs_folder(root: Path) -> Path:
    """Where a clone keeps compiled programs:
    a folder for each set of instructions, whatever the CPU is called.

    What is compiled for one CPU may use instructions that another lacks, and JAX does not tell CPUs of one
    family apart. Nodes of a cluster share their files, and a clone may have been copied from another machine.
    """
    features = cpu_model(("flags", "Features"), platform.machine())
    return root / ".cache" / f"jax-{sha256(features)[:12]}"


def unpacks(content: bytes) -> bool:
    """Whether an entry can be decompressed, by one of the modules that JAX chooses from."""
    for name in ("zlib", "compression.zstd", "zstandard"):
        with contextlib.suppress(Exception):  # not installed, or an error of its own kind
            importlib.import_module(name).decompress(content)
            return True
    return False


def remove_damaged(folder: Path, *, everything: bool = True) -> int:
    """Remove entries that a killed process has left half written, or that were spoilt later.
    Returns how many.

    JAX never replaces an entry: one that it cannot read gives the same warning at each run. It writes an
    entry and then the time of its last use; one without the other makes every later write fail, in all
    processes. It does so under a lock: who holds the lock sees only entries that nobody will complete.

    A new entry is judged by the checksum that zlib keeps, and its hash is recorded; all others by that hash,
    a tenth of the work. Zstd, which JAX takes from Python 3.14 on, keeps no checksum: there a bit that
    changes before the entry is first judged stays unseen.

    everything: False takes recorded entries for whole, as within a build that has judged them.
    """
    if not folder.is_dir():
        return 0
    record = folder / "whole.json"
    try:
        known = dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}

    def hashes(earlier: dict[str, str | None]) -> dict[str, str | None]:
        """{entry: its hash, or None where it is damaged}, as far as they have not been found earlier."""
        names = set(os.listdir(folder))
        entries = {
            name: f"{name.removesuffix(ENTRY)}-atime" in names for name in names if name.endswith(ENTRY)
        }
        return {name: earlier.get(name) or (whole(name) if used else None) for name, used in entries.items()}

    def whole(name: str) -> str | None:
        if not everything and name in known:
            return known[name]
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return None
        found = sha256(content)
        return found if (known[name] == found if name in known else unpacks(content)) else None

    found, damaged = hashes({}), []
    if found != known:  # now with the lock, without which an entry may only be unfinished
        with (
            contextlib.suppress(filelock.Timeout),  # others are at work; the next process will see to it
            filelock.FileLock(folder / ".lockfile", timeout=LOCK_SECONDS),  # JAX's own
        ):
            found = hashes(found)
            damaged = [folder / name for name, digest in found.items() if digest is None]
            for entry in damaged:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                entry.with_name(f"{entry.name.removesuffix(ENTRY)}-atime").unlink(missing_ok=True)
            whole_ones = {name: digest for name, digest in sorted(found.items()) if digest}
            write_atomically(record, json.dumps(whole_ones))
    if damaged:
        what = "damaged entries of the compilation cache were removed; their programs are compiled anew"
        print(f"jpo: {len(damaged)} {what}.", file=sys.stderr)
    return len(damaged)
