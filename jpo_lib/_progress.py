"""Progress bars for work that takes more than a few seconds; silent where nobody watches."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator


def _is_watched() -> bool:
    """Whether a person sees the bar: `tqdm` itself would also write it into pages that Papermill and nbclient
    make."""
    if os.environ.get("JPO_PROGRESS", "1") == "0":
        return False
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    # Only a front end with a person before it lets a cell ask for input.
    return sys.stderr.isatty() if kernel is None else getattr(kernel, "_allow_stdin", False)


@contextlib.contextmanager
def progress_bar(label: str, total: int, delay: float = 2.0) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the amount of work done so far; the bar appears after `delay` seconds."""
    if not _is_watched():
        yield lambda done: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=label, delay=delay, leave=False) as bar:

        def report(done: int) -> None:
            bar.update(done - bar.n)

        yield report
