"""`make env` under settings that a user has made for other environments:
only the sources of packages count."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SETTINGS

CLEAN = {
    name: value for name, value in SETTINGS.items() if not name.startswith(("PIP_", "UV_", "PYTHON", "XDG_"))
}


def ask(expression, variables):
    """What workflow/environment.py says of the settings that it finds, in a process of its own."""
    script = (
        f"import json, os, environment as e; e.PYTHON = {sys.executable!r}; print(json.dumps({expression}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd="/",
        env={**variables, "PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_of_variables_only_sources_and_the_way_there_are_kept():
    kept = {
        "PIP_INDEX_URL": "file:///a",
        "PIP_EXTRA_INDEX_URL": "file:///b",
        "PIP_TRUSTED_HOST": "c",
        "PIP_CERT": "/d",
        "PIP_FIND_LINKS": "/e",
        "UV_DEFAULT_INDEX": "file:///f",
        "UV_INDEX_INTERNAL_PASSWORD": "g",
        "UV_CACHE_DIR": "/h",
        "SSL_CERT_FILE": "/i",
        "https_proxy": "http://j",
        "HTTPS_PROXY": "http://k",
        "NO_PROXY": "l",
        "HOME": "/tmp",
        "PATH": os.environ["PATH"],
    }
    dropped = (
        *("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_CONFIG_FILE", "PIP_NO_DEPS"),
        *("UV_SYSTEM_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_CONSTRAINT", "UV_CONFIG_FILE"),
        *("PYTHONUSERBASE", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_PRELOAD"),
    )
    found = ask("e.kept_variables()", {**kept, **dict.fromkeys(dropped, "")})
    assert {name: value for name, value in found.items() if name != "LC_CTYPE"} == kept


def test_of_configuration_files_only_sources_are_kept(tmp_path):
    for tool in ("pip", "uv"):
        (tmp_path / tool).mkdir()
    (tmp_path / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://user:p%%40ss@mirror.example/simple\ntimeout = 7\nquiet = 3\n"
        "extra-index-url =\n  https://one.example/simple\n  https://two.example/simple\n"
        "[install]\nuser = true\ntarget = /nowhere\nno-deps = true\ndry-run = true\ntimeout = 8\n"
    )
    (tmp_path / "uv" / "uv.toml").write_text(
        'index-strategy = "unsafe-best-match"\nallow-insecure-host = ["a.example"]\noffline = false\n'
        'no-binary = true\nfind-links = ["/a", "/b"]\n'
        '[[index]]\nname = "one"\nurl = "https://one.example"\n'
        '[[index]]\nurl = "https://two.example"\ndefault = true\n'
        '[pip]\nsystem = true\ntarget = "/nowhere"\nextra-index-url = ["https://three.example"]\n'
    )
    home = {**CLEAN, "XDG_CONFIG_HOME": str(tmp_path)}
    found = ask("e.pip_sources()", home)
    assert found["PIP_INDEX_URL"].endswith("@mirror.example/simple") and found["PIP_TIMEOUT"] == "8"
    assert found["PIP_EXTRA_INDEX_URL"].split() == [
        "https://one.example/simple",
        "https://two.example/simple",
    ]
    assert not {"PIP_USER", "PIP_TARGET", "PIP_NO_DEPS", "PIP_DRY_RUN", "PIP_QUIET"} & found.keys()
    assert ask("e.uv_sources()", home) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "a.example",
        "UV_OFFLINE": "False",
        "UV_FIND_LINKS": "/a,/b",
        "UV_INDEX": "one=https://one.example",
        "UV_DEFAULT_INDEX": "https://two.example",
        "UV_EXTRA_INDEX_URL": "https://three.example",
    }


@pytest.mark.parametrize("home", ["/", None, "relative", "/dev/null"])
def test_caches_go_into_the_clone_where_the_home_cannot_be_written(home, tmp_path):
    """As uid 12345, which no system knows, where the tests run as root; other users cannot write / anyway."""
    variables = {name: value for name, value in CLEAN.items() if name != "HOME"}
    question = "e.kept_variables().get('XDG_CACHE_HOME')"
    assert ask(question, {**variables, "HOME": str(tmp_path)}) is None
    as_other = f"(os.setgid(12345), os.setuid(12345), {question})[-1]" if os.getuid() == 0 else question
    if home is None and os.getuid():
        pytest.skip("this user has a home in any case")
    assert ask(as_other, {**variables, "HOME": home} if home else variables) == str(ROOT / ".cache")


@pytest.mark.long
def test_make_env_under_settings_meant_for_other_environments(tmp_path):
    """All at once: each would end `make env`, or lead packages elsewhere."""
    clone, home, trap = tmp_path / "a clone", tmp_path / "home", tmp_path / "trap"
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    for name in ("workflow", "requirements", "jpo_lib", "jpo_book"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    trap.mkdir()
    for module in ("json", "fcntl", "sitecustomize", "pip"):
        (trap / f"{module}.py").write_text("raise SystemExit('a module of the user')")
    elsewhere = str(tmp_path / "elsewhere")
    for tool, name, text in (
        (
            "pip",
            "pip.conf",
            f"[install]\nuser = true\ntarget = {elsewhere}\nno-deps = true\ndry-run = true\n",
        ),
        (
            "uv",
            "uv.toml",
            f'no-binary = true\noffline = true\n[pip]\nsystem = true\ntarget = "{elsewhere}"\n',
        ),
    ):
        (home / ".config" / tool).mkdir(parents=True)
        (home / ".config" / tool / name).write_text(text)
    hostile = {
        **SETTINGS,
        **ask("{**e.pip_sources(), **e.uv_sources()}", SETTINGS),  # they lie in the true home
        "XDG_CACHE_HOME": SETTINGS.get("XDG_CACHE_HOME", f"{SETTINGS['HOME']}/.cache"),
        "HOME": str(home),
        **dict.fromkeys(("PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_NO_DEPS", "PIP_DRY_RUN"), "1"),
        **dict.fromkeys(("PIP_TARGET", "PIP_PREFIX", "UV_PROJECT_ENVIRONMENT", "PYTHONUSERBASE"), elsewhere),
        **dict.fromkeys(("PIP_CONSTRAINT", "UV_CONSTRAINT", "UV_OVERRIDE", "VIRTUAL_ENV"), elsewhere),
        **dict.fromkeys(("CONDA_PREFIX", "PYTHONHOME", "__PYVENV_LAUNCHER__"), elsewhere),
        "UV_SYSTEM_PYTHON": "1",
        "UV_NO_BINARY": "1",
        "UV_PYTHON": "2.7",
        "PYTHONPATH": str(trap),
        "PYTHONWARNINGS": "error",
    }
    done = subprocess.run(["make", "env"], cwd=clone, env=hostile, capture_output=True, text=True)
    assert done.returncode == 0 and "ready" in done.stdout, done.stdout + done.stderr
    assert "trying pip" not in done.stdout and not done.stderr
    assert not Path(elsewhere).exists()
    again = subprocess.run(["make", "env"], cwd=clone, env=hostile, capture_output=True, text=True)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    listed = [
        {item["name"]: item["version"] for item in json.loads(subprocess.check_output(command, env=SETTINGS))}
        for command in (
            [sys.executable, "-m", "uv", "pip", "list", "--quiet", "--format=json", "--python", python]
            for python in (sys.executable, clone / ".venv" / "bin" / "python")
        )
    ]
    assert listed[0] == listed[1]
