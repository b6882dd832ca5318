"""What is measured. A case is one piece of work with one side of this library and any number of other sides.

Sides are named "module:function"; each runs in a process of its own (see `worker.py`). The function takes the
arguments of the case and returns a `Side`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jpo_book.names import EXPERIMENTS


@dataclasses.dataclass(frozen=True)
class Peer:
    """What is put beside this library in one row.

    Arguments:
        name: for the reader, with what is different in its method.
        side: "module:function".
        target: {"at_least": r}: this library is r times faster; {"at_most": r}:
            it takes at most r times as long.
        note: what a reader must know about the comparison.
    """

    name: str
    side: str
    target: Mapping[str, float] | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Case:
    """One piece of work.

    Arguments:
        name: short and unique, for the command line and the result file.
        title: for the reader.
        ours: "module:function" of this library's side.
        peers: the other sides; may be empty.
        arguments: keywords for all sides of the full version.
        quick: keywords that replace them in the short version.
        reference: "module:function" whose outputs the accuracy is judged by; None for none.
        in_quick: part of the short version; one process and one compilation for each side take their time.
    """

    name: str
    title: str
    ours: str
    peers: tuple[Peer, ...] = ()
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    quick: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: str | None = None
    in_quick: bool = True


@dataclasses.dataclass
class Side:
    """One side of a case, ready to run.

    Attributes:
        run: does the work once; what it returns is waited for.
        count: what the time is divided by (problems, steps, ...).
        compile_seconds: spent before.
        outputs: arrays whose accuracy is judged by those of the reference.
        text, numbers: what the side says about its accuracy itself.
        timed: `run` returns the seconds.
        whole: those are of all that `run` does, so that its processor time can be noted, too.
    """

    run: Callable[[], Any]
    count: float = 1.0
    compile_seconds: float = 0.0
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    text: str = ""
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    timed: bool = False
    whole: bool = True


def _flow(batch: int, order: int) -> Case:
    peers = [Peer(f"exponax, ETDRK{order}", "navier_stokes:exponax_side", {"at_least": 2.0})]
    if order == 4:
        peers.append(Peer("jax-cfd, spectral, Crank–Nicolson and RK4", "navier_stokes:jax_cfd_side", None))
    if batch == 1 and order == 4:
        peers.append(
            Peer(
                "PhiFlow, staggered grid (another scheme)",
                "navier_stokes:phiflow_side",
                {"at_least": 20.0},
                "PhiFlow solves the same flow by another scheme: finite volumes on a staggered grid, "
                "MacCormack advection, "
                "and a linear solve for the pressure in each step.",
            )
        )
    return Case(
        f"navier_stokes_order{order}_batch{batch}",
        f"{EXPERIMENTS['navier_stokes'].title} 64², ETDRK{order}, batch {batch}: a time step with its "
        "gradient",
        "navier_stokes:ours",
        tuple(peers),
        {"batch": batch, "order": order, "num_steps": 40},
        {"num_steps": 10},
        "navier_stokes:reference",
        in_quick=order == 4 and batch == 1,
    )


def _bfgs(problem: str) -> Case:
    number = {"kuramoto_sivashinsky": 128, "navier_stokes": 32}.get(problem, 256)
    few = {"kuramoto_sivashinsky": 16, "navier_stokes": 8}.get(problem, 256)
    loop = {"kuramoto_sivashinsky": 16, "navier_stokes": 4}.get(problem, 64)
    cheap = problem in ("wave_packet", "billiards")
    return Case(
        f"bfgs_{problem}",
        f"BFGS, {EXPERIMENTS[problem].title}: a problem",
        "bfgs:ours",
        (
            Peer(
                "loop over SciPy's BFGS with compiled gradients",
                "bfgs:scipy_side",
                {"at_least": 20.0} if cheap else None,
            ),
            Peer("optimistix.BFGS under vmap", "bfgs:optimistix_side", {"at_least": 1.0}),
        ),
        {"problem": problem, "num_problems": number, "loop": loop},
        {"num_problems": few, "loop": 32 if cheap else loop},
        in_quick=problem == "wave_packet",
    )


CASES = [
    Case(
        "kuramoto_sivashinsky",
        f"{EXPERIMENTS['kuramoto_sivashinsky'].title}, ETDRK4: loss and gradient of a problem",
        "kuramoto_sivashinsky:ours",
        (
            Peer("exponax, ETDRK4", "kuramoto_sivashinsky:exponax_side", {"at_least": 3.0}),
            Peer(
                "the bare FFTs of all stages, forward and backward",
                "kuramoto_sivashinsky:floor_side",
                {"at_most": 1.5},
            ),
        ),
        {"batch": 256},
        {"batch": 64},
        "kuramoto_sivashinsky:reference",
    ),
    *(_flow(batch, order) for batch in (1, 64) for order in (2, 4)),
    Case(
        "billiards",
        f"{EXPERIMENTS['billiards'].title}, batch 4096: loss and gradient of a shot",
        "billiards:ours",
        (
            Peer(
                "small steps in time, compiled by JAX",
                "billiards:small_steps_side",
                {"at_least": 100.0},
                "The scheme is that of the verification chapter, here compiled. The step is the largest "
                "power of two with a median error "
                "of at most 1e-4. Derivatives by forward mode: backward mode would have to store every step. "
                "They take so long that fewer shots are played there; times are per shot.",
            ),
        ),
        {"batch": 4096, "peer_batch": 256},
    ),
    *(_bfgs(problem) for problem in EXPERIMENTS),
    *(
        Case(
            f"training_{problem}",
            f"training step of joint optimization, {EXPERIMENTS[problem].title}",
            "training:ours",
            (
                Peer(
                    "its parts, measured apart: simulator and network, each with gradient",
                    "training:parts",
                    {"at_most": 1.15},
                ),
            ),
            {"problem": problem, "num_problems": 256 if problem != "navier_stokes" else 64},
            {"num_problems": 256 if problem in ("wave_packet", "billiards") else 32},
            in_quick=problem == "wave_packet",
        )
        for problem in EXPERIMENTS
    ),
]
