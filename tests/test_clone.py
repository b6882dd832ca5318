"""A clone has the bytes of the repository, whatever git of the user does to the ends of lines."""

import hashlib
import os
import shutil
import subprocess

import pytest
from conftest import ROOT

# Of the settings of this machine's git, none; a test may run as another user than the clone's.
ALONE = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def git(*arguments):
    return subprocess.run(
        ["git", *map(str, arguments)], env=ALONE, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    "settings",
    [("core.autocrlf=true",), ("core.autocrlf=input",), ("core.autocrlf=true", "core.eol=crlf")],
    ids=" ".join,
)
def test_a_clone_has_the_bytes_of_the_repository(settings, tmp_path):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a clone of git")
    clone = tmp_path / "clone"
    given = [word for setting in settings for word in ("--config", setting)]
    git("clone", "--quiet", "--no-tags", "--single-branch", *given, ROOT, clone)
    entries = [
        line.split(maxsplit=3) for line in git("-C", clone, "ls-files", "-s", "-z").split("\0") if line
    ]
    assert len(entries) > 800
    changed = []
    for _, blob, _, name in entries:
        content = (clone / name).read_bytes()
        if hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest() != blob:
            changed.append(name)
    assert not changed
    for script in (name for *_, name in entries if name.endswith(".sh")):
        assert subprocess.run(["sh", "-n", clone / script], capture_output=True).returncode == 0, script
    git("-C", clone, "add", "--renormalize", ".")
    assert not git("-C", clone, "status", "--porcelain")
