"""Processes that share the cells of a study."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from jpo_lib._processors import usable_cores

Item = TypeVar("Item")


def num_processes() -> int:
    """How many processes compute a study: 2 on a CPU with two cores or more, else 1.
    JPO_PROCESSES asks for others.

    Raises ValueError if JPO_PROCESSES is no number above zero.
    """
    import jax

    asked = os.environ.get("JPO_PROCESSES")
    if asked is None:
        return min(usable_cores(), 2) if jax.default_backend() == "cpu" else 1
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(
            f"JPO_PROCESSES: expected a number of processes, at least 1, got {asked!r}; "
            "unset it to let the library choose."
        )
    return int(asked)


def share(
    work: Callable[[Item], object], items: Sequence[Item], done: Callable[[Item], object] = lambda item: None
) -> None:
    """work(item) for all items; this process begins at the front of the list, helping processes at its end.

    Programs are compiled on one core, and what happens between two simulations uses one, so threads alone
    leave others idle. A helper is given an item only when it has started, so a short list is not held up.
    What a helper fails to do is done here: an error appears where its reader is.
    A helper ends at once when this process does.

    Arguments:
        work: a function that helpers can import.
        items: what can be pickled, and is not None.
        done: called after each item, in any thread.
    Raises:
        whatever `work` raises.
    """
    waiting = deque(items)

    def take(side: Callable[[], Item]) -> Item | None:
        with contextlib.suppress(IndexError):
            return side()
        return None

    def work_here() -> None:
        while (item := take(waiting.popleft)) is not None:
            work(item)
            done(item)

    def serve(helper: ProcessPoolExecutor) -> None:
        helper.submit(os.getpid).result()
        while (item := take(waiting.pop)) is not None:
            try:
                helper.submit(work, item).result()
            except BaseException:
                waiting.append(item)
                raise
            done(item)

    num_helpers = min(num_processes(), len(items)) - 1
    if num_helpers > 0:
        with ThreadPoolExecutor(num_helpers) as threads, _processes(num_helpers) as helpers:
            served = [threads.submit(serve, helper) for helper in helpers]
            work_here()
            wait(served)
    work_here()


@contextlib.contextmanager
def _processes(count: int) -> Iterator[list[ProcessPoolExecutor]]:
    """Executors with one process each: the death of one, for lack of memory, leaves the others.

    All end with the context.
    """
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    helpers = [ProcessPoolExecutor(1, context, _follow, (theirs,)) for _ in range(count)]
    main = sys.modules["__main__"]
    try:
        # A new process would run the script of the user, which need not be made for that:
        # it gets an empty one.
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            for helper in helpers:
                helper.submit(os.getpid)
        finally:
            sys.modules["__main__"] = main
        yield helpers
    finally:
        ours.close()
        for helper in helpers:
            helper.shutdown()
        theirs.close()


def _follow(starter: Any) -> None:
    """In a helper: end when the other side of the pipe is closed,
    as when its process is killed; print nothing."""

    def end() -> None:
        multiprocessing.connection.wait([starter])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
