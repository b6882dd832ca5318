"""Progress bars for work that takes more than a few seconds; silent where nobody watches."""

from __future__ import annotations

import contextlib
import os
import sys


def _style() -> str:
    """Which bar to show: "notebook", "terminal" or "none"."""
    if os.environ.get("JPO_PROGRESS", "1") == "0":
        return "none"
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        # Only a front end with a person before it lets a cell ask for input; Papermill and nbclient do not.
        return "notebook" if getattr(kernel, "_allow_stdin", False) else "none"
    return "terminal" if sys.stderr.isatty() else "none"


@contextlib.contextmanager
def progress_bar(label: str, total: int, delay: float = 2.0):
    """Yield a function that takes the amount of work done so far; the bar appears after `delay` seconds."""
    style = _style()
    if style == "none":
        yield lambda done: None
        return
    if style == "notebook":
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    bar = tqdm(total=total, desc=label, delay=delay, leave=False)

    def report(done: int) -> None:
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        bar.close()
