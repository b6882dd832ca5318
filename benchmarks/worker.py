"""One side of a case in a process of its own: `python -m benchmarks.worker module:function '{"argument":
value}' reference.npz|- outputs.npz`.

It prepares (imports, data, compilation), says so in one line of JSON, and then does its work once for each
line "run" that it reads, answering with the seconds and those of the processor. The two sides of a case take
turns in this way, while the one that waits does nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

SHORTEST = 0.05  # seconds; shorter work is repeated within one measurement


def main(side: str, arguments: str, outputs: str) -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    import numpy as np

    module, function = side.split(":")
    begin = time.perf_counter()
    made = getattr(importlib.import_module(f"benchmarks.{module}"), function)(**json.loads(arguments))

    def wait(value):
        import jax

        return jax.block_until_ready(value)

    def once() -> float:
        if made.timed:
            return made.run()
        started = time.perf_counter()
        wait(made.run())
        return time.perf_counter() - started

    first = once()
    inner = (
        1
        if made.timed
        else max(1, int(SHORTEST / max(min(first, once()) if first < SHORTEST else first, 1e-6)))
    )
    arrays: Any = {name: np.asarray(value) for name, value in made.outputs.items()}
    np.savez(outputs, **arrays)

    def say(**facts):
        answer.write(json.dumps(facts) + "\n")
        answer.flush()

    say(
        compile_seconds=made.compile_seconds,
        count=made.count,
        text=made.text,
        numbers=dict(made.numbers),
        ready=time.perf_counter() - begin,
    )
    for line in sys.stdin:
        if line.strip() != "run":
            break
        started, processor = time.perf_counter(), time.process_time()
        if made.timed:
            say(seconds=made.run(), processor=time.process_time() - processor if made.whole else None)
            continue
        for _ in range(inner - 1):
            made.run()
        result = made.run()
        wait(result)
        say(
            seconds=(time.perf_counter() - started) / inner,
            processor=(time.process_time() - processor) / inner,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
