"""Where results lie, and how files are written: to a temporary name first, then renamed.

All environment variables of the book. For users: JPO_STUDIES, the folder of study files; JPO_PROCESSES, how many
processes compute the studies of one notebook; JPO_PROGRESS=0, no progress bars. Between processes of a build, set by
workflow/build.py: JPO_BUILD, "host:process" of the build, with which its commands end; JPO_EXECUTOR, the folder of
a cluster's settings. From `jpo run` to the process of a notebook: JPO_RESULTS_LOG, a file in which the result files
that it reads are noted. For tests: JPO_BOOK_HTML, the book to look at; JPO_REQUIRE_BROWSER=1, fail without a browser.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def repository_root() -> Path | None:
    """The clone that this package is imported from, if it is one."""
    root = PACKAGE.parent
    return root if (root / "notebooks").is_dir() and (root / "pyproject.toml").is_file() else None


def root_folder() -> Path:
    """The clone, or the working folder where the package is not imported from a clone."""
    return repository_root() or Path.cwd()


def studies_folder() -> Path:
    """Where studies are kept: $JPO_STUDIES, else _build/studies of the clone, else of the working folder."""
    if os.environ.get("JPO_STUDIES"):
        return Path(os.environ["JPO_STUDIES"])
    return root_folder() / "_build" / "studies"


def reference_folder() -> Path:
    """Where the reference results of the paper profile lie: results/ of the clone."""
    return root_folder() / "results"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, on_disk: bool = False) -> None:
    """Replace the content of a file, which everybody may read, as a whole.

    on_disk: return only when it has reached the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if on_disk:
                stream.flush()
                os.fsync(stream.fileno())
        os.chmod(name, 0o644)  # mkstemp makes it private, which a web server could not read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, content: str | bytes) -> bool:
    """Write atomically, and only when the content differs. Returns whether it was written."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return False
    write_bytes(path, data)
    return True


def processor(facts: tuple[str, ...] = ("model name",), otherwise: str | None = None) -> str:
    """Model of the processor where the system tells it: it decides how sums are rounded.

    facts: the lines of Linux's list to look for; the first that is found counts. otherwise: what to say where there is none.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(facts))
    except (OSError, StopIteration):
        return otherwise or platform.processor() or platform.machine()
