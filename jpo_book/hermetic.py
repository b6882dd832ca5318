"""What a run of the book may see of the machine: settings of a user's shell and home decide no number and no
picture.

A run sees the variables that are named here, and no others: where programs lie, which devices there are, how
to reach a cluster. All else is set by us or is absent: JAX, matplotlib, IPython, Jupyter, Snakemake, Python
and git then work with their own defaults. Their files of settings and their caches lie in a home of its own
in the clone. Who uses the library in a session of their own keeps their settings; what decides the numbers of
stored results is set around them, see `numerics`.

The standard library only: this runs before anything else is imported.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from jpo_book.files import InputError, root_folder

# Variables that a run sees as they are. JPO_ is ours, see `files`.
KEPT = re.compile(
    r"""PATH | LD_LIBRARY_PATH | DYLD_(FALLBACK_)?LIBRARY_PATH | TMPDIR | TEMP | TMP | TERM | USER | LOGNAME
    | JPO_\w+
    | XLA_FLAGS | JAX_PLATFORMS | XLA_PYTHON_CLIENT_\w+ | XLA_CLIENT_MEM_FRACTION
    | JAX_COMPILATION_CACHE_(DIR|MAX_SIZE) | JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS
    | CUDA_(VISIBLE_DEVICES|DEVICE_ORDER|HOME|PATH) | NVIDIA_(VISIBLE_DEVICES|DRIVER_CAPABILITIES)
    | (ROCR|HIP)_VISIBLE_DEVICES
    | (SLURM|SBATCH|SALLOC|SRUN|SQUEUE|SACCT|KUBERNETES|PMI|PMIX)_\w+ | KUBECONFIG""",
    re.VERBOSE,
)
# Of what is left out, what somebody has set in the hope that it counts.
HOPED_FOR = re.compile(r"JAX_|MPL|MATPLOTLIB|SNAKEMAKE_|NVIDIA_TF32")
FIXED = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONUTF8": "1",
    "PYTHONHASHSEED": "0",  # the order of sets
    "PYTHONNOUSERSITE": "1",
    "JUPYTER_NO_CONFIG": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
}
LESS = "free memory, or use less work, such as --profile smoke"
CAUSES: dict[int, str] = {
    signal.SIGKILL: f"its process was killed, as a system does when memory runs short: {LESS}",
    signal.SIGABRT: f"its process gave up, as programs do that get no memory (see the line above): {LESS}",
}
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Flags of XLA that choose devices and how much is optimized, but relax no arithmetic.
FLAGS = re.compile(
    r"--xla_(cpu_max_isa|cpu_use_fusion_emitters|cpu_prefer_vector_width|backend_optimization_level"
    r"|force_host_platform_device_count|dump_\w+|gpu_(?!\w*(fast|tf32|precision|f16|f8|approx|ftz))\w+)(=\S*)?"
)
# What decides the numbers of JAX, beside the flags of XLA: its defaults, all of them.
NUMERICS: dict[str, Any] = {
    "jax_enable_x64": False,  # a problem asks for float64 where it needs it
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_default_matmul_precision": None,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_high_dynamic_range_gumbel": False,
    "jax_softmax_custom_jvp": False,
    "jax_disable_jit": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    "jax_enable_checks": False,
}


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The variables that a run sees, from those of a shell. Of its own result it makes the same."""
    home = str(root_folder() / ".cache" / "home")
    seen = {name: value for name, value in given.items() if KEPT.fullmatch(name)}
    user = seen.get("USER") or seen.get("LOGNAME") or str(os.getuid())  # a user may have no name
    clusters = os.path.join(given.get("HOME", ""), ".kube", "config")
    if "KUBECONFIG" not in seen and given.get("HOME") != home and os.path.isfile(clusters):
        seen["KUBECONFIG"] = clusters
    return seen | FIXED | {"HOME": home, "USER": user, "LOGNAME": user}


def foreign_flags(flags: str) -> list[str]:
    """Those flags of XLA that may change more than the last digits of numbers, or that we do not know."""
    return [flag for flag in flags.split() if not FLAGS.fullmatch(flag)]


def enter() -> None:
    """From here on this process, and those that it starts, see the variables of `environment`."""
    wanted = environment(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    with contextlib.suppress(OSError):  # a clone that cannot be written to: programs then do without
        os.makedirs(wanted["HOME"], exist_ok=True)


def seal(program: str, guard: bool = False) -> None:
    """Begin this process anew with the variables of `environment`, where it has others (`guarded`, if so).

    It ends with exit status 2 and one sentence in the name of the program where the user's flags or devices
    do not fit.
    """
    given, wanted = dict(os.environ), environment(os.environ)
    if given == wanted:
        return
    try:
        check_devices(wanted)
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
    if aside := sorted(name for name in given.keys() - wanted.keys() if HOPED_FOR.match(name)):
        print(f"{program}: runs of the book do not use {', '.join(aside)}.", file=sys.stderr, flush=True)
    enter()
    command = [sys.executable, *sys.orig_argv[1:]]
    if guard:
        sys.exit(guarded(program, command))
    os.execv(sys.executable, command)


def guarded(program: str, command: list[str]) -> int:
    """Run a command to its end, and say in one sentence why, where a signal ended it: a process that gets no
    memory cannot say so itself. Returns its exit status.

    The command ends with this process: it sees JPO_PARENT, see `cli`.
    """
    with subprocess.Popen(
        command, env={**os.environ, "JPO_PARENT": f"{socket.gethostname()}:{os.getpid()}"}
    ) as child:

        def pass_on(number: int, _: Any) -> None:
            if number != signal.SIGINT or not os.isatty(2):  # a terminal interrupts both
                child.send_signal(number)

        for number in PASSED_ON:
            signal.signal(number, pass_on)
        status = child.wait()
    if status < 0 and -status not in PASSED_ON:
        what = CAUSES.get(-status, f"its process ended by signal {-status}: please report what it was doing")
        print(f"{program}: {what}.", file=sys.stderr)
    return status if status >= 0 else 128 - status


def check_devices(variables: Mapping[str, str]) -> None:
    """Raises InputError where JAX cannot work with the flags or the devices that these variables name."""
    flags, platforms = variables.get("XLA_FLAGS", ""), variables.get("JAX_PLATFORMS", "")
    if flags or platforms not in ("", "cpu"):
        command = [sys.executable, "-E", "-c", "import jax; jax.devices()"]
        settings = {**variables, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        done = subprocess.run(command, env=settings, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise InputError(cause_of_death(done.stderr, flags, platforms))
    if foreign := foreign_flags(flags):
        raise InputError(
            f"Expected no flags in XLA_FLAGS that may change numbers, got {' '.join(foreign)}: unset them."
        )


def cause_of_death(said: str, flags: str, platforms: str) -> str:
    """One sentence about a process of JAX that ended with an error, from what it wrote to stderr."""
    if unknown := re.search(r"Unknown flags? in XLA_FLAGS: *(.*)", said):
        return f"Expected flags in XLA_FLAGS that this version of XLA knows, got {unknown[1]}: correct them."
    last = (said.strip().splitlines() or ["it said nothing"])[-1]
    if platforms and re.search(r"[Bb]ackend|[Pp]latform|No visible|AssertionError", said):
        return (
            f"Expected JAX_PLATFORMS to name devices that JAX finds here, got '{platforms}' ({last}): "
            "unset it, or install what is missing with make env ACCELERATOR=cuda13."
        )
    return f"Expected JAX to start with XLA_FLAGS='{flags}' and JAX_PLATFORMS='{platforms}', got '{last}'."


@contextlib.contextmanager
def numerics() -> Iterator[None]:
    """In this context JAX computes with NUMERICS, whatever the session has chosen."""
    import jax

    with contextlib.ExitStack() as stack:
        for name, wanted in NUMERICS.items():
            if getattr(jax.config, name) == wanted:
                continue
            own = getattr(jax, name.removeprefix("jax_"), None)
            if own is not None:  # for this thread, as the session may have chosen it
                stack.enter_context(own(wanted))
            else:
                stack.callback(jax.config.update, name, getattr(jax.config, name))
                jax.config.update(name, wanted)
        yield
