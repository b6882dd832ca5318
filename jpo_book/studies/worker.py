"""A process that helps another one to compute the cells of a study.

    python -m jpo_book.studies.worker FOLDER

reads cells from its input, one as JSON in each line, computes each into the folder, and writes a line when it is ready
and after each cell. It ends when its input does: also when the process that started it was killed. Result files are
complete or not there, so it may end at any time.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from pathlib import Path
from typing import TextIO

from jpo_book.studies.cell import Cell
from jpo_book.studies.store import run_cell


def help_with(folder: Path, cells: TextIO, answers: TextIO) -> None:
    """Compute cells as they come; returns never, since the end of `cells` ends the process."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in cells:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    print("ready", file=answers, flush=True)
    while True:
        cell = Cell.model_validate_json(waiting.get())
        run_cell(cell, folder)
        print(cell.name, file=answers, flush=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    sys.stdin.reconfigure(encoding="utf-8")
    help_with(Path(sys.argv[1]), sys.stdin, answers)
