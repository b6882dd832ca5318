"""Nothing of a user's shell, home or working folder decides a number or a picture of the book."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from conftest import ROOT, SETTINGS

from jpo_book import hermetic, studies
from jpo_book.studies import store
from jpo_book.studies.netcdf import read_netcdf

JPO = [str(ROOT / ".venv" / "bin" / "jpo")]
CELL = studies.plan("wave_packet", "smoke")[0]


# What a run sees


def test_the_variables_of_a_run_are_those_of_a_run():
    once = hermetic.environment({**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": "/x", "LANG": "tr_TR"})
    assert hermetic.environment(once) == once
    assert not once.keys() & {"JAX_ENABLE_X64", "PYTHONPATH", "LANG"}
    assert once["HOME"].startswith(str(ROOT)) and once["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("flags", "foreign"),
    [
        ("", []),
        ("--xla_cpu_max_isa=AVX2 --xla_force_host_platform_device_count=2", []),
        ("--xla_dump_to=/tmp/x --xla_gpu_autotune_level=0", []),
        ("--xla_cpu_enable_fast_math=true --xla_cpu_max_isa=AVX2", ["--xla_cpu_enable_fast_math=true"]),
        ("--xla_gpu_enable_fast_min_max=true", ["--xla_gpu_enable_fast_min_max=true"]),
        ("--xla_allow_excess_precision", ["--xla_allow_excess_precision"]),
        ("/a/file/of/flags", ["/a/file/of/flags"]),
    ],
)
def test_flags_that_relax_arithmetic_are_told_from_others(flags, foreign):
    assert hermetic.foreign_flags(flags) == foreign


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("XLA_FLAGS", "--xla_no_such_flag=1", "that this version of XLA knows, got --xla_no_such_flag=1"),
        (
            "XLA_FLAGS",
            "--xla_cpu_enable_fast_math=true",
            "may change numbers, got --xla_cpu_enable_fast_math",
        ),
        ("JAX_PLATFORMS", "tpu", "devices that JAX finds here, got 'tpu'"),
    ],
)
def test_flags_and_devices_that_do_not_fit_are_refused_in_one_sentence(variable, value, words):
    command = [*JPO, "study", "wave_packet", "--profile", "smoke", "--list"]
    done = subprocess.run(command, env={**SETTINGS, variable: value}, capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr and not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1


# How a run ends


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_a_process_that_a_signal_ends_is_told_in_one_sentence(ended_by):
    code = f"import os; os.kill(os.getpid(), {ended_by.value})"
    command = [sys.executable, "-c", code]
    guard = f"from jpo_book.hermetic import guarded; raise SystemExit(guarded('jpo', {command}))"
    done = subprocess.run([sys.executable, "-c", guard], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 128 + ended_by
    assert ("memory" in done.stderr) == (ended_by != signal.SIGSEGV)
    assert len(done.stderr.splitlines()) == 1


def test_a_study_without_memory_ends_with_the_true_cause(tmp_path):
    resource = pytest.importorskip("resource", reason="limits of memory are settings of Unix")
    command = [*JPO, "study", "wave_packet", "--profile", "smoke", "--folder", str(tmp_path / "studies")]

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000,) * 2)

    done = subprocess.run(
        command, env={**SETTINGS, "HOME": str(tmp_path)}, preexec_fn=limit, capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode not in (0, 2) and last.startswith("jpo: ") and "memory" in last
    assert not list((tmp_path / "studies").rglob("*.nc"))


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_ended_leaves_no_process(ended_by, tmp_path):
    command = [*JPO, "study", "kuramoto_sivashinsky", "--profile", "paper", "--folder", str(tmp_path)]
    with subprocess.Popen(
        command, env={**SETTINGS, "HOME": str(tmp_path)}, stderr=subprocess.DEVNULL
    ) as guard:
        children = Path(f"/proc/{guard.pid}/task/{guard.pid}/children")
        worker = wait_for(lambda: [int(one) for one in children.read_text().split()])[0]
        status = Path(f"/proc/{worker}/cmdline")
        wait_for(lambda: b"study" in status.read_bytes())
        time.sleep(2)  # it has begun to work
        guard.send_signal(ended_by)
    wait_for(lambda: not status.exists() or not status.read_bytes())


def wait_for(what, seconds=60):
    """What `what` returns as soon as that is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


# Numbers


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return read_netcdf(studies.run_cell(CELL, tmp_path_factory.mktemp("clean")))


SESSIONS = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 7,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_default_matmul_precision": "bfloat16",
}


def test_results_do_not_depend_on_the_session_that_computes_them(clean, tmp_path):
    """A notebook in a session of a user, who keeps their settings."""
    assert SESSIONS.keys() <= hermetic.NUMERICS.keys()
    before = {name: getattr(jax.config, name) for name in SESSIONS}
    try:
        for name, value in SESSIONS.items():
            jax.config.update(name, value)
        with jax.enable_x64(True), jax.default_prng_impl("unsafe_rbg"):
            found = read_netcdf(studies.run_cell(CELL, tmp_path))
        assert {name: getattr(jax.config, name) for name in SESSIONS} == SESSIONS
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert found.identical(clean)
    assert studies.check(CELL, tmp_path) == "valid"


def test_every_setting_is_set_and_given_back():
    other = {"jax_debug_nans": True, "jax_softmax_custom_jvp": True, **SESSIONS}
    before = {name: getattr(jax.config, name) for name in hermetic.NUMERICS}
    try:
        for name, value in other.items():
            jax.config.update(name, value)
        session = {name: getattr(jax.config, name) for name in hermetic.NUMERICS}
        with hermetic.numerics():
            assert {name: getattr(jax.config, name) for name in hermetic.NUMERICS} == hermetic.NUMERICS
        assert {name: getattr(jax.config, name) for name in hermetic.NUMERICS} == session
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda manifest: manifest.pop("numerics"), "stale: it was not computed under the settings of JAX"),
        (lambda manifest: manifest["numerics"].update(jax_enable_x64=True), "stale: it was not computed"),
        (
            lambda manifest: manifest.update(compiler_flags="--xla_cpu_enable_fast_math=true"),
            "stale: it was computed with the compiler flags --xla_cpu_enable_fast_math=true",
        ),
    ],
)
def test_results_of_other_settings_are_told_apart(tmp_path, change, state):
    path = store.run_cell(CELL, tmp_path).with_suffix(".json")
    manifest = json.loads(path.read_text())
    assert manifest["numerics"] == hermetic.NUMERICS
    change(manifest)
    path.write_text(json.dumps(manifest))
    assert studies.check(CELL, tmp_path).startswith(state)


# A notebook and its studies, as processes of a user


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path.parent)


def hostile_matplotlib(folder):
    rc = "text.usetex: True\nfigure.facecolor: black\nfont.size: 30\naxes.prop_cycle: cycler(color=['y'])\n"
    written(folder / ".config" / "matplotlib" / "matplotlibrc", rc)
    return {
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": written(folder / "mpl" / "matplotlibrc", rc),
        "MATPLOTLIBRC": str(folder / "mpl" / "matplotlibrc"),
        "HOME": str(folder),
    }


def hostile_ipython(folder):
    profile = folder / "ipython" / "profile_default"
    evil = "import numpy, builtins; builtins.sum = None; numpy.random.seed(1)"
    written(profile / "startup" / "00.py", f"{evil}; numpy.set_printoptions(precision=1)")
    written(
        profile / "ipython_config.py",
        "c.InlineBackend.rc = {'figure.facecolor': 'red'}\nc.TerminalIPythonApp.x = 1",
    )
    written(
        profile / "ipython_kernel_config.py",
        "c.InteractiveShell.ast_node_interactivity = 'all'\nraise SystemExit",
    )
    return {"IPYTHONDIR": str(folder / "ipython"), "IPYTHON_SUPPRESS_CONFIG_ERRORS": "false"}


def hostile_jupyter(folder):
    spec = json.dumps({"argv": ["/removed/bin/python", "-f", "{connection_file}"], "display_name": "x"})
    written(folder / "jupyter" / "kernels" / "python3" / "kernel.json", spec)
    config = {
        "NotebookClient": {"timeout": 1},
        "KernelManager": {"transport": "ipc"},
        "MultiKernelManager": 3,
    }
    written(folder / "config" / "jupyter_config.json", json.dumps(config))
    return {
        "JUPYTER_PATH": str(folder / "jupyter"),
        "JUPYTER_DATA_DIR": str(folder / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_CONFIG_PATH": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": "/nonexistent",
        "JUPYTER_PLATFORM_DIRS": "1",
    }


def hostile_python(folder):
    for name in ("numpy", "typer", "pydantic", "jax", "matplotlib"):
        written(folder / "path" / f"{name}.py", "raise ImportError('another Python')")
    return {
        "PYTHONPATH": str(folder / "path"),
        "PYTHONSTARTUP": str(folder / "path" / "numpy.py"),
        "PYTHONOPTIMIZE": "2",
        "PYTHONWARNINGS": "error",
        "PYTHONHASHSEED": "random",
        "PYTHONIOENCODING": "ascii",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": "/nonexistent",
        "PYTHONUSERBASE": str(folder),
        "PYTHONBREAKPOINT": "os.abort",
        "PYTHONINTMAXSTRDIGITS": "640",
    }


def hostile_working_folder(folder):
    place = folder / "place"
    for name in ("numpy", "jax", "json"):
        written(place / f"{name}.py", "raise ImportError('of the working folder')")
    written(place / "matplotlibrc", "figure.facecolor: black\n")
    written(place / "ipython_kernel_config.py", "raise SystemExit")
    return {"PWD": str(place)}


HOSTILE = {
    "precision": lambda _: {"JAX_ENABLE_X64": "1", "JAX_DEFAULT_DTYPE_BITS": "64"},
    "random numbers": lambda _: {
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_RANDOM_SEED_OFFSET": "3",
        "JAX_ENABLE_CUSTOM_PRNG": "1",
        "JAX_HIGH_DYNAMIC_RANGE_GUMBEL": "1",
    },
    "products": lambda _: {"JAX_DEFAULT_MATMUL_PRECISION": "bfloat16", "NVIDIA_TF32_OVERRIDE": "1"},
    "promotion": lambda _: {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"},
    "debugging": lambda _: {
        "JAX_DISABLE_JIT": "1",
        "JAX_DEBUG_NANS": "1",
        "JAX_ENABLE_CHECKS": "1",
        "JAX_LOG_COMPILES": "1",
        "JAX_TRACEBACK_FILTERING": "off",
        "JAX_CHECK_TRACER_LEAKS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_CPP_VMODULE": "client=9",
    },
    "compiler": lambda _: {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_OPTIMIZATION_LEVEL": "O0",
        "JAX_NUM_CPU_DEVICES": "4",
        "JAX_CPU_ENABLE_ASYNC_DISPATCH": "0",
        "JAX_ENABLE_COMPILATION_CACHE": "0",
    },
    "linear algebra": lambda _: {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
        "MKL_CBWR": "COMPATIBLE",
    },
    "matplotlib": hostile_matplotlib,
    "IPython": hostile_ipython,
    "Jupyter": hostile_jupyter,
    "Python": hostile_python,
    "working folder": hostile_working_folder,
    "locale": lambda _: {
        "LC_ALL": "tr_TR.ISO-8859-9",
        "LANG": "C",
        "LC_NUMERIC": "de_DE.UTF-8",
        "LANGUAGE": "tr",
        "TZ": "Pacific/Kiritimati",
        "SOURCE_DATE_EPOCH": "0",
    },
    "terminal": lambda _: {
        "COLUMNS": "20",
        "LINES": "3",
        "FORCE_COLOR": "3",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "PY_COLORS": "1",
        "PYTEST_ADDOPTS": "--nothing",
    },
    "home that is not there": lambda folder: {
        "HOME": "/nonexistent",
        "XDG_CACHE_HOME": "/proc/cache",
        "XDG_CONFIG_HOME": "/proc/config",
        "XDG_RUNTIME_DIR": "/proc/run",
        "XDG_DATA_DIRS": str(folder),
        "TMPDIR": "/proc",
    },
    "git": lambda folder: {
        "GIT_DIR": "/nonexistent",
        "GIT_WORK_TREE": str(folder),
        "GIT_CONFIG_GLOBAL": str(folder),
        "GIT_CEILING_DIRECTORIES": "/",
        "GIT_INDEX_FILE": "/nonexistent",
    },
    "shell": lambda folder: {
        "BASH_ENV": written(folder / "x.sh", "exit 3") + "/x.sh",
        "ENV": str(folder / "x.sh"),
        "BASH_FUNC_python%%": "() { exit 3; }",
        "CDPATH": "/",
        "SHELLOPTS": "noexec",
        "POSIXLY_CORRECT": "1",
        "IFS": "_",
    },
    "Snakemake": lambda folder: {
        "SNAKEMAKE_PROFILE": written(folder / "config.yaml", "rerun-triggers: [mtime]\ndry-run: true\n"),
        "SNAKEMAKE_OUTPUT_CACHE": "/nonexistent",
    },
    "debugger": lambda _: {
        "PYDEVD_USE_CYTHON": "NO",
        "PYTHONFAULTHANDLER": "1",
        "IPY_TEST": "1",
        "COVERAGE_PROCESS_START": "x",
    },
    "no session": lambda _: {"LOGNAME": "", "USER": "", "SHELL": "/nonexistent", "DISPLAY": ":99", "CI": "1"},
}
VOLATILE = re.compile(
    r"""\d+\.\d(?= s\))|(?<=\| Run time \| )[\d.]+|(?<="seconds": )[\d.]+|(?<="seal": ")\w+"""
)


def run(folder, variables):
    """(page, {result file: bytes}) of a smoke notebook that computes its studies, under these variables."""
    pages, results = folder / "pages", folder / "studies"
    settings = {**SETTINGS, **variables, "JPO_STUDIES": str(results)}
    command = [*JPO, "run", "03_wave_packet", "--profile", "smoke", "--output", str(pages)]
    done = subprocess.run(
        command,
        env=settings,
        cwd=variables.get("PWD", ROOT),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    page = (pages / "03_wave_packet.ipynb").read_text(encoding="utf-8")
    return VOLATILE.sub("0", page), {path.name: path.read_bytes() for path in results.rglob("*.nc")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("clean"), {})


@pytest.mark.long
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_page_and_its_results_are_the_same_under_hostile_settings(kind, undisturbed, tmp_path):
    page, results = run(tmp_path / "out", HOSTILE[kind](tmp_path / "hostile"))
    assert results.keys() == undisturbed[1].keys() and len(results) > 1
    assert results == undisturbed[1]
    found, expected = json.loads(page), json.loads(undisturbed[0])
    for cell, same in zip(found["cells"], expected["cells"], strict=True):
        assert cell == same
    assert found == expected


@pytest.mark.long
def test_papermill_alone_draws_all_figures_and_stores_the_same_results(tmp_path):
    """Whoever calls Papermill keeps their settings; results and figures are the book's all the same."""
    source, found = ROOT / "notebooks" / "03_wave_packet.ipynb", []
    for kind, variables in (
        ("clean", {}),
        ("hostile", {"JAX_ENABLE_X64": "1", **hostile_matplotlib(tmp_path / "settings")}),
    ):
        results, target = tmp_path / kind, tmp_path / f"{kind}.ipynb"
        settings = {**SETTINGS, **variables, "JPO_STUDIES": str(results), "JPO_PROGRESS": "0"}
        command = [sys.executable, "-m", "papermill", "-k", "python3", "-p", "profile", "smoke"]
        command += [source, target, "--no-progress-bar"]
        subprocess.run(command, env=settings, cwd=source.parent, check=True, capture_output=True)
        files = {path.name: path.read_bytes() for path in results.rglob("*.nc")}
        found.append((files, target.read_text(encoding="utf-8").count('"image/svg+xml"')))
    assert found[0] == found[1] and len(found[0][0]) > 1 and found[0][1] > 3
