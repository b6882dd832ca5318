"""Start-up: how long the library takes to import, and what the second run of a notebook compiles."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IMPORT_TARGET = 1.5  # seconds, without the import of JAX
IMPORT = """
import time
begin = time.perf_counter()
import jax, jax.numpy
middle = time.perf_counter()
import jpo_lib
lazy = time.perf_counter()
for name in jpo_lib.__all__:
    getattr(jpo_lib, name)
print(middle - begin, lazy - middle, time.perf_counter() - middle)
"""


def run(
    quick: bool, empty_row: Callable[..., dict[str, Any]], say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    rows = [_imports(3 if quick else 7, empty_row)]
    say(f"import: {rows[0]['ours']['accuracy_text']}")
    if quick:
        return rows
    rows.append(_second_run("03_wave_packet", empty_row))
    say(f"second run of a notebook: {rows[-1]['ours']['accuracy_text']}")
    return rows


def _imports(times: int, empty_row) -> dict[str, Any]:
    found = [
        [
            float(v)
            for v in subprocess.check_output([sys.executable, "-c", IMPORT], cwd=ROOT, text=True).split()
        ]
        for _ in range(times)
    ]
    jax_alone, lazy, everything = (statistics.median(values) for values in zip(*found))
    return empty_row(
        "import",
        "import of jpo_lib with all its names, without that of JAX",
        seconds=everything,
        target={"seconds_at_most": IMPORT_TARGET},
        reached=everything <= IMPORT_TARGET,
        turns=times,
        numbers={"jax_seconds": jax_alone, "lazy_seconds": lazy},
        text=f"JAX alone {jax_alone:.2f} s; `import jpo_lib`, which loads its parts on first use, "
        f"{1000 * lazy:.1f} ms",
    )


def _second_run(notebook: str, empty_row) -> dict[str, Any]:
    """Run a notebook twice with an empty cache of compiled programs at first,
    and its studies anew each time."""
    from jpo_book.run import compilation

    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        seconds, entries = [], []
        for number in range(2):
            env = dict(
                os.environ, JPO_STUDIES=str(Path(folder, f"studies-{number}")), **compilation.settings(cache)
            )
            begin = time.perf_counter()
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "jpo_book.cli",
                    "run",
                    notebook,
                    "--profile",
                    "smoke",
                    "--output",
                    folder,
                ],
                cwd=ROOT,
                env=env,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            seconds.append(time.perf_counter() - begin)
            entries.append(len(list(cache.glob("*-cache"))))
    new = entries[1] - entries[0]
    return empty_row(
        "second_run",
        f"second run of the notebook {notebook} (smoke), its studies computed anew",
        seconds=seconds[1],
        target={"new_programs": 0},
        reached=new == 0,
        numbers={"first_seconds": seconds[0], "programs": entries[0], "new_programs": new},
        text=f"first run {seconds[0]:.0f} s and {entries[0]} compiled programs kept, "
        f"second run {seconds[1]:.0f} s and {new} more",
    )
