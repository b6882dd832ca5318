"""Where results lie, and how files are written: to a temporary name first, then renamed.

All environment variables of the book. For users: JPO_STUDIES, the folder of study files; JPO_PROCESSES, how
many processes compute the studies of one notebook; JPO_PROGRESS=0, no progress bars; JPO_COMMIT, the commit
to name on pages where git does not tell it. Between processes of a
build, set by workflow/build.py: JPO_BUILD, "host:process" of the build, with which its commands end;
JPO_EXECUTOR, the folder of a cluster's settings. JPO_PARENT, the same for the process that guards a command,
see `hermetic`. From `jpo run` to the process of a notebook:
JPO_RESULTS_LOG, a file in which the result files that it reads are noted. For tests: JPO_BOOK_HTML, the book
to look at; JPO_REQUIRE_BROWSER=1, fail without a browser; JPO_DAMAGES, JPO_DAMAGES_SEED and JPO_DAMAGED, see
tests/test_damages.py.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SEAL = re.compile(r'(?<="seal": ")[0-9a-f]{64}')
BLANK = "0" * 64  # the seal while its text is hashed


class InputError(ValueError):
    """The request is wrong. The message is one sentence: what was expected, what came, what to do."""


def repository_root() -> Path | None:
    """The clone that this package is imported from, if it is one."""
    root = PACKAGE.parent
    return root if (root / "notebooks").is_dir() and (root / "pyproject.toml").is_file() else None


def root_folder() -> Path:
    """The clone, or the working folder where the package is not imported from a clone."""
    return repository_root() or Path.cwd()


def name_of(path: Path, otherwise: Path) -> str:
    """A file as pages name it: relative to the clone; another name outside of it, since places of this
    machine are of no use."""
    root, path = root_folder(), path.resolve()
    return (path.relative_to(root) if path.is_relative_to(root) else otherwise).as_posix()


def studies_folder() -> Path:
    """Where studies are kept: $JPO_STUDIES, else _build/studies of the clone, else of the working folder."""
    if os.environ.get("JPO_STUDIES"):
        return Path(os.environ["JPO_STUDIES"])
    return root_folder() / "_build" / "studies"


def reference_folder() -> Path:
    """Where the reference results of the paper profile lie: results/ of the clone."""
    return root_folder() / "results"


def sha256(content: Path | bytes | str) -> str:
    """Hash, as 64 hexadecimal digits, of the bytes of a file, of bytes, or of a text as UTF-8."""
    data = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def sealed(text: str) -> str:
    """A JSON text with its SHA-256, but for these digits, as its "seal"; one without stays as it is."""
    blank = SEAL.sub(BLANK, text)
    return SEAL.sub(sha256(blank), blank)


def is_sealed(text: str) -> bool:
    """Whether a JSON text is still as `sealed` has left it."""
    return bool(SEAL.search(text)) and sealed(text) == text


def write_atomically(
    path: Path, content: bytes | str | Callable[[Path], object], *, on_disk: bool = False
) -> None:
    """Replace a file as a whole: readers see the old one or the new one, and a failure leaves the old one.

    Who may read the new file is decided by the umask, as for every file that a program makes.

    Arguments:
        path: of the file; its folder is made where it is missing.
        content: what to write, a text as UTF-8, or a function that writes it to the path that it is given.
        on_disk: return only when it has reached the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        if on_disk:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_if_changed(path: Path, content: str | bytes) -> bool:
    """Write atomically, and only when the content differs. Returns whether it was written."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return False
    write_atomically(path, data)
    return True


def cpu_model(facts: tuple[str, ...] = ("model name",), otherwise: str | None = None) -> str:
    """Model of the CPU where the system tells it: it decides how sums are rounded.

    facts: the lines of Linux's list to look for; the first that is found counts.
    otherwise: what to say where there is none.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(facts))
    except (OSError, StopIteration):
        return otherwise or platform.processor() or platform.machine()
