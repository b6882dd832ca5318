"""Make `.venv` agree with the lock file, doing no more than is needed. Standard library only.

    python3 workflow/environment.py [cpu|cuda13|bench]

"bench" makes `.venv-bench`, in which the benchmarks and what they compare with live; `.venv` knows nothing of
them. A stamp in `.venv` is written last. It names what the environment was made from, so that an unfinished
one never looks finished, a changed lock is installed again, and a moved clone is repaired without a network.
"""

import ast
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = ".venv-bench" if sys.argv[1:] == ["bench"] else ".venv"
COMMAND = "make bench" if FOLDER == ".venv-bench" else "make env"
VENV = os.path.join(ROOT, FOLDER)
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "jpo-environment.json")
ACCELERATORS = ("cpu", "cuda13", "bench")
NETWORK_TROUBLE = re.compile(
    r"name resolution|Name or service not known|nodename nor servname|dns error|Network is unreachable"
    r"|No route to host|Connection refused|Connection reset|timed out|NewConnectionError|ConnectTimeout"
    r"|Max retries exceeded|error sending request|Failed to fetch|tunnel|\(from versions: none\)",
    re.IGNORECASE,
)
# Variables of the user that reach the commands below: where packages come from and how to get there.
# All others (PIP_USER, PIP_TARGET, UV_SYSTEM_PYTHON, PYTHONPATH ...) are meant for other environments.
KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LC_\w+|LD_LIBRARY_PATH|XDG_\w+|NETRC|SSL_\w+|\w+_CA_BUNDLE"
    r"|(?i:\w+_PROXY)|(?:PIP|UV)_(?:INDEX\w*|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST"
    r"|INSECURE_HOST|CERT|CLIENT_CERT|NATIVE_TLS|SYSTEM_CERTS|PROXY|KEYRING_PROVIDER|CACHE_DIR|LINK_MODE"
    r"|TIMEOUT|DEFAULT_TIMEOUT|HTTP_TIMEOUT|RETRIES|OFFLINE)"
)


class Failure(Exception):
    pass


@functools.cache
def kept_variables():
    """What is kept of the user's variables; caches go into the clone where the home cannot be written."""
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    place = cache = kept.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    while not os.path.exists(place) and place:
        place = os.path.dirname(place)
    if not os.path.isabs(cache) or not os.path.isdir(place) or not os.access(place, os.W_OK):
        kept["XDG_CACHE_HOME"] = os.path.join(ROOT, ".cache")
    return kept


@functools.cache
def pip_sources():
    """Of the user's configuration files of pip: where packages come from, as variables."""
    file = {name: os.environ[name] for name in ("PIP_CONFIG_FILE",) if name in os.environ}
    listed = subprocess.run(
        [PYTHON, "-m", "pip", "config", "list"],
        env={**kept_variables(), **file, "PIP_QUIET": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    found = re.findall(r"^(?:global|install)\.([\w-]+)=(.+)$", listed, re.MULTILINE)  # the latter counts more
    found = {"PIP_" + name.upper().replace("-", "_"): ast.literal_eval(value) for name, value in found}
    return {name: value for name, value in found.items() if KEPT.fullmatch(name)}


@functools.cache
def uv_sources():
    """The same of uv, which cannot list its settings."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    found = {}
    for path in ("/etc/uv/uv.toml", os.environ.get("UV_CONFIG_FILE") or os.path.join(home, "uv", "uv.toml")):
        try:
            with open(path, "rb") as file:
                settings = tomllib.load(file)
        except (OSError, ValueError):
            continue
        settings.update(settings.pop("pip", {}))
        for index in settings.pop("index", []):
            names = "default-index" if index.get("default") else "index"
            url = "=".join(index[key] for key in ("name", "url") if key in index)
            settings[names] = [*settings.get(names, []), url]
        for name, value in settings.items():
            separator = "," if name == "find-links" else " "
            text = separator.join(value) if isinstance(value, list) else str(value)
            found["UV_" + name.removeprefix("allow-").upper().replace("-", "_")] = text
    return {name: value for name, value in found.items() if KEPT.fullmatch(name)}


def run(*command):
    """Run a command in the new environment; its output is shown only when it fails."""
    ours = {"VIRTUAL_ENV": VENV, "PYTHONNOUSERSITE": "1", "UV_NO_CONFIG": "1"}
    ours.update(PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    sources = {**pip_sources(), **uv_sources()} if os.path.exists(PYTHON) else {}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**sources, **kept_variables(), **ours},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)


def file_hash(*parts):
    with open(os.path.join(ROOT, *parts), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def wanted_stamp(accelerator):
    return {
        "accelerator": accelerator,
        "lock": file_hash("requirements", accelerator + ".lock"),
        "pyproject": file_hash("pyproject.toml"),
        "folder": ROOT,
    }


def read_stamp():
    """The stamp of a finished environment whose Python still runs, or None."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            stamp = json.load(file)
        version = subprocess.check_output(
            [PYTHON, "-E", "-s", "-c", "import platform; print(platform.python_version())"], text=True
        )
        return stamp if version.strip() == stamp["python"] else None
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError):
        return None


def write_stamp(stamp):
    with open(STAMP + ".new", "w", encoding="utf-8") as file:
        json.dump(dict(stamp, python=".".join(map(str, sys.version_info[:3]))), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(STAMP + ".new", STAMP)


def create():
    """An empty environment that holds pip and uv."""
    if os.path.lexists(VENV):
        if not os.path.exists(os.path.join(VENV, "pyvenv.cfg")):
            raise Failure(f"{FOLDER} is not a Python environment: move it away, then run {COMMAND} again.")
        shutil.rmtree(VENV)
    run(sys.executable, "-E", "-s", "-m", "venv", VENV)
    with open(os.path.join(VENV, "pyvenv.cfg"), "a", encoding="utf-8") as file:
        file.write("relocatable = true\n")  # uv then writes scripts that survive a move of the folder
    run(
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries=1",
        "--require-hashes",
        "-r",
        os.path.join("requirements", "bootstrap.lock"),
    )


def install_lock(accelerator):
    """Install exactly what the lock names, every file checked against its hash."""
    lock = os.path.join("requirements", accelerator + ".lock")
    try:
        run(PYTHON, "-m", "uv", "pip", "sync", "--quiet", "--python", PYTHON, "--require-hashes", lock)
    except subprocess.CalledProcessError as error:
        if NETWORK_TROUBLE.search(error.output):
            raise
        # uv knows other sources of packages than pip does (pip.conf, say):
        # what fails in one may work in the other.
        print(COMMAND + ": uv could not install the lock; trying pip, which is slower", flush=True)
        run(PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", lock)


def install_package():
    """Link this folder into the environment. Needs no network: the build back end is in the lock."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
    try:
        run(PYTHON, "-m", "uv", "pip", "install", "--offline", "--reinstall", "--python", PYTHON, *options)
    except subprocess.CalledProcessError:
        run(PYTHON, "-m", "pip", "install", "--no-index", "--force-reinstall", *options)


def wait_for(lock, seconds=3.0):
    """Hold the lock file until this process ends, however it ends.
    A check takes less than `seconds`, a set-up more."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise Failure(
                    "another make env is running in this folder: wait until it ends, then try again."
                ) from None
            time.sleep(0.1)


def make(accelerator):
    started = time.monotonic()
    found = read_stamp()
    accelerator = accelerator or (found or {}).get("accelerator", "cpu")
    wanted = wanted_stamp(accelerator)
    different = {key for key in wanted if found is None or found.get(key) != wanted[key]}
    if not different:
        return
    if found is not None:
        os.remove(STAMP)  # from here on the environment is unfinished
    if found is None:
        print(f"{COMMAND}: creating {FOLDER} ({accelerator})", flush=True)
        try:
            create()
        except BaseException:
            shutil.rmtree(VENV, ignore_errors=True)
            raise
    if {"lock", "accelerator"} & different:
        install_lock(accelerator)
    install_package()
    write_stamp(wanted)
    print(
        "{}: {}ready ({:.0f} s)".format(
            COMMAND, FOLDER + " " if FOLDER != ".venv" else "", time.monotonic() - started
        ),
        flush=True,
    )


def main(arguments):
    accelerator = arguments[0] if arguments else ""
    if accelerator and accelerator not in ACCELERATORS:
        raise Failure(
            "expected ACCELERATOR to be one of {}, got '{}': use one of these.".format(
                ", ".join(ACCELERATORS), accelerator
            )
        )
    os.makedirs(os.path.join(ROOT, ".cache"), exist_ok=True)
    with open(os.path.join(ROOT, ".cache", "environment.lock"), "w") as lock:
        wait_for(lock)
        try:
            make(accelerator)
        except subprocess.CalledProcessError as error:
            output = (error.output or "").strip()
            if NETWORK_TROUBLE.search(output):
                raise Failure(
                    "expected a network to install the packages, got no answer from the package index: "
                    "connect this machine (a proxy goes into HTTPS_PROXY), then run make env again."
                ) from None
            raise Failure(
                "the environment is not complete because a command failed; its last lines are:\n{}\n"
                "Correct this, then run make env again.".format("\n".join(output.splitlines()[-15:]))
            ) from None


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failure as failure:
        sys.exit(f"make env: {failure}")
    except OSError as error:
        sys.exit(f"make env: {error.strerror or error}: {error.filename or ROOT}")
    except KeyboardInterrupt:
        sys.exit(130)
