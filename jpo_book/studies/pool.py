"""Processes that share the cells of a study."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence

from jpo_lib._processors import usable_cores


def num_processes() -> int:
    """How many processes compute a study: 2 on a CPU with two processors or more, else 1. JPO_PROCESSES asks for others.

    Raises ValueError if JPO_PROCESSES is no number above zero.
    """
    import jax

    asked = os.environ.get("JPO_PROCESSES")
    if asked is None:
        return min(usable_cores(), 2) if jax.default_backend() == "cpu" else 1
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(
            f"JPO_PROCESSES: expected a number of processes, at least 1, got {asked!r}; unset it to let the library choose."
        )
    return int(asked)


def with_helpers(
    work: Callable[[str], None],
    items: Sequence[str],
    helper: Sequence[str],
    done: Callable[[str], None] = lambda item: None,
) -> None:
    """work(item) for all items; this process begins at the front of the list, helping processes at its end.

    Programs are compiled on one processor, and what happens between two simulations uses one, so threads alone leave others idle.
    A helper is given an item only when it has started, so a short list is not held up. What a helper fails to do is done here:
    an error appears where its reader is. A helper ends at once when this process does.

    Arguments:
        work: what this process does with an item.
        items: one line of text each.
        helper: command of a process that writes a line when it is ready, then answers each line of its input with one when it has
            done that item, and ends when its input does.
        done: called after each item, in any thread.
    Raises:
        whatever `work` raises.
    """
    waiting, at_work, lock = deque(items), {}, threading.Lock()

    def take(process: subprocess.Popen | None = None) -> str | None:
        with lock:
            at_work.pop(process, None)
            item = None if not waiting else waiting.popleft() if process is None else waiting.pop()
            if item is not None and process is not None:
                at_work[process] = item
            return item

    def serve(process: subprocess.Popen) -> None:
        answer = process.stdout.readline()
        while answer and (item := take(process)) is not None:
            try:
                process.stdin.write(f"{item}\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except OSError:  # it has ended
                answer = ""
            if answer:
                done(item)
            else:
                with lock:
                    waiting.append(at_work.pop(process))

    helpers = [
        subprocess.Popen(
            helper,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        for _ in range(min(num_processes(), len(items)) - 1)
    ]
    threads = {process: threading.Thread(target=serve, args=(process,), daemon=True) for process in helpers}
    try:
        for thread in threads.values():
            thread.start()
        while True:
            while (item := take()) is not None:
                work(item)
                done(item)
            with lock:
                busy = list(at_work)
            if not busy and not waiting:
                return
            for process in busy:
                threads[process].join()
    finally:
        for process in helpers:
            process.kill()
        for process, thread in threads.items():
            if thread.ident is not None:
                thread.join()
            process.communicate()
