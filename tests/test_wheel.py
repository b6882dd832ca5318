"""The wheel alone, in an empty environment:
the library with its few dependencies, and `jpo`, which says what else it needs."""

import os
import re
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT, SETTINGS

pytestmark = pytest.mark.long

# Settings of a user that are meant for other environments, and the folder of this clone, must not
# reach the new one.
ALONE = {name: value for name, value in SETTINGS.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "uv", "build", "--wheel", "--no-build-isolation", "--offline", "--quiet"]
    subprocess.run(
        [*command, "--out-dir", str(folder), str(ROOT)], check=True, capture_output=True, env=SETTINGS
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Programs of an environment with the wheel, the versions of the lock and nothing else."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run(
        [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True, capture_output=True
    )
    lock = (ROOT / "requirements" / "cpu.lock").read_text()
    versions = folder / "versions.txt"  # without hashes: a wheel made here has none
    versions.write_text("\n".join(re.findall(r"^[\w.-]+==[\w.+!]+(?: ; [^\\\n]+)?", lock, re.MULTILINE)))
    install = [
        *uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(folder),
        "--constraint",
        str(versions),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, env=SETTINGS)
    return folder / "bin"


def test_both_packages_and_their_data_are_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"jpo_lib/__init__.py", "jpo_book/cli.py", "jpo_book/studies/profiles/smoke.yaml"} <= set(names)
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"jpo_lib", "jpo_book"}


def test_the_example_of_the_readme_runs_with_the_library_alone(environment, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    code += "import sys; heavy = {'matplotlib', 'pydantic', 'papermill', 'typer'}; "
    code += "print(sorted(heavy & set(sys.modules)), jpo.__file__)"
    done = subprocess.run(
        [environment / "python", "-c", code], cwd=tmp_path, env=ALONE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"better 0\.\d+ .*solved 1\.000 ", done.stdout) and "\n[] " in done.stdout, done.stdout
    assert str(ROOT) + os.sep not in done.stdout


def test_the_command_says_which_extra_it_needs(environment, tmp_path):
    done = subprocess.run(
        [environment / "jpo", "notebooks"], cwd=tmp_path, env=ALONE, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.fullmatch(
        r"jpo: expected the packages of the extra 'notebooks', found no \w+: run pip install .*\n",
        done.stderr,
    )
