"""Work that the processors of this machine share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor


@functools.lru_cache(maxsize=1)
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, usable_cores() - 1), thread_name_prefix="jpo")


def on_all_processors(work: Callable, items: Iterable) -> list:
    """[work(item) for item in items], each item on the next processor that is free.

    Threads are enough: JAX lets other threads run while a compiled program computes. After an error or an
    interrupt no further item is begun.
    """
    import jax

    items = list(items)
    results = [None] * len(items)
    numbers = iter(range(len(items)))  # shared: each number goes to one thread
    float64 = jax.config.read("jax_enable_x64")  # each thread has a setting of its own

    def take_share():
        try:
            with jax.enable_x64(float64):
                for number in numbers:
                    results[number] = work(items[number])
        except BaseException:
            list(numbers)  # leaves nothing for the others
            raise

    helpers = [_helpers().submit(take_share) for _ in range(min(usable_cores(), len(items)) - 1)]
    try:
        take_share()
    finally:
        for helper in helpers:
            if not helper.cancel():  # one that has not begun finds nothing to do any more
                helper.result()
    return results


def usable_cores() -> int:
    """Cores that this process may use. Not every system says which; then all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
