"""Write environment.yml, for conda and Binder users, from pyproject.toml and the lock:
`make lock` calls it."""

import re
import tomllib
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.11"
EXTRAS = ("notebooks", "book", "test")  # what a reader needs; a cluster or a GPU has its own needs


def locked_versions(lock="cpu.lock", python=PYTHON):
    """{package: version} of the lock file on Linux with this Python; names in lower case."""
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    machine = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    return {
        name.lower(): version
        for name, version, marker in re.findall(
            r"^([\w.-]+)==([\w.+!]+)(?: ; ([^\\\n]+))?", text, re.MULTILINE
        )
        if not marker or Marker(marker).evaluate(machine)
    }


def direct_dependencies(extras=EXTRAS):
    """Names of the packages that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    return [re.split(r"[^\w.-]", line)[0].lower() for line in wanted]


def environment_yml():
    """The whole text of the file."""
    versions = locked_versions()
    lines = [
        "# The packages of pyproject.toml at the versions of requirements/cpu.lock. "
        "Made by `make lock`: do not edit.",
        "name: jpo",
        "channels: [conda-forge]",
        "dependencies:",
        f"  - python={PYTHON}",
        "  - pip",
        "  - pip:",
        *(f"      - {name}=={versions[name]}" for name in direct_dependencies()),
        "      - -e .",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(environment_yml(), encoding="utf-8")
