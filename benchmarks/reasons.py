"""Why a target is missed: what the time of a row is spent on, measured apart. `python -m benchmarks.reasons billiards_bfgs` runs one.

Each profile is measured in a process of its own, whether or not its rows reach their target; the page of the book shows the
sentence of those that do not.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import answer_of
from jpo_lib._processors import usable_cores

SEED = 990
Found = tuple[str, dict[str, float]]  # a sentence with the numbers that were measured, and these numbers


@dataclasses.dataclass(frozen=True)
class Profile:
    """Measurements that explain rows.

    Arguments:
        rows: names of the rows.
        beside: the other side that they are compared with; "" for rows without one.
        measure: quick -> sentence and numbers.
    """

    rows: tuple[str, ...]
    beside: str
    measure: Callable[[bool], Found]


def wall_and_processor(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median seconds of a call, on the clock and of all processors together. The first call is not counted."""
    import jax

    jax.block_until_ready(call())
    spent = []
    for _ in range(repeats):
        begin, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(call())
        spent.append((time.perf_counter() - begin, time.process_time() - processor))
    wall, processors = np.median(spent, axis=0)
    return float(wall), float(processors)


def bfgs_billiards(quick: bool) -> Found:
    """What the evaluations that problems need would take, and what the run takes; one block of lanes, large and small."""
    import jax
    import jax.numpy as jnp

    import jpo_lib as jpo
    from jpo_book.measure import median_seconds
    from jpo_lib.solvers.evaluation import evaluation

    problem = jpo.billiards()
    data = problem.sample_dataset(256, SEED)
    repeats = 3 if quick else 9
    counts = jpo.solve(problem, data, jpo.BFGS()).num_evaluations
    run = float(np.median([jpo.solve(problem, data, jpo.BFGS()).run_seconds for _ in range(repeats)]))

    def batch(size):
        arguments = jax.tree.map(lambda leaf: leaf[:size], (data.x0, data.context, data.y))
        program, _ = evaluation(problem).compiled(*arguments)
        return median_seconds(lambda: program(*arguments), repeats, 0.1)["median"]

    together, small = batch(256), batch(16)
    compiled = jax.jit(jax.value_and_grad(problem.objective))
    x, y, context = (
        np.asarray(data.x0[0], float),
        np.asarray(data.y[0]),
        jax.tree.map(lambda leaf: np.asarray(leaf[0]), data.context),
    )

    def call():
        loss, gradient = compiled(jnp.asarray(x, data.x0.dtype), context, y)
        return float(loss), np.asarray(gradient, float)

    alone = median_seconds(call, repeats, 0.1)["median"]
    late = int((counts > 2 * counts.mean()).sum())
    numbers = {"alone": alone, "together": together / 256, "mean": float(counts.mean()), "longest": int(counts.max()), "late": late,
               "needed": float(counts.mean()) * together, "run": run, "small": small}  # fmt: skip
    text = (f"An evaluation takes {1e6 * alone:.0f} µs in SciPy's loop and {1e6 * together / 256:.1f} µs in a batch of 256: {256 * alone / together:.0f} times less, "
            f"which no batched method can exceed. At that pace the evaluations that the problems need, {counts.mean():.1f} on average, would take {numbers['needed'] * 1e3:.0f} ms; the run takes "
            f"{1e3 * run:.0f} ms. Problems differ: {late} of 256 need more than twice the average, one of them {counts.max()}. Those are evaluated in smaller batches (16 problems "
            f"{1e3 * small:.2g} ms, {256 * small / (16 * together):.1f} times as much for each), with lanes among them that have finished. Steps of the method and dealing what is left into new "
            "batches take the rest; they were not measured apart.")  # fmt: skip
    return text, numbers


def training_wave_packet(quick: bool) -> Found:
    """A whole step, its programs one by one, and the network forward and backward in one program."""
    import jax

    from benchmarks.training import network_program, ours, prepared
    from jpo_book.measure import median_seconds
    from jpo_lib.solvers.evaluation import evaluation
    from jpo_lib.solvers.training import Networks, grouped

    problem, data, solver, batch = prepared("wave_packet", 256)
    networks = Networks(problem, solver, grouped(data, 1), np.arange(1), batch)
    networks.initialize((0,))
    part, context, y = networks.gather(networks.blocks[0])
    x, raw, pull_back = networks.propose(part)
    simulate, _ = evaluation(problem, training=True).compiled(x, context, y)
    _, gradient = simulate(x, context, y)
    together, weights_together = network_program(problem, data)

    def copies():
        return jax.tree.map(lambda leaf: leaf.copy(), (networks.weights, networks.state))

    def backward():  # gives the memory of its first two arguments away: it gets copies, whose time is measured apart
        return networks.call(networks.learning, *copies(), networks._rates[0], pull_back, raw, gradient)

    calls = {"forward": lambda: networks.propose(part)[0], "simulation": lambda: simulate(x, context, y), "backward": backward,
             "copies": copies, "together": lambda: together(weights_together, gradient)}  # fmt: skip
    step = ours("wave_packet", 256)
    turns = {name: [] for name in ["step", *calls]}
    for _ in range(3 if quick else 15):
        turns["step"].append(step.run())
        for name, call in calls.items():
            turns[name].append(median_seconds(call, 1, 0.05)["median"])
    numbers = {name: float(np.median(seconds)) for name, seconds in turns.items()}
    numbers["backward"] -= numbers.pop("copies")
    numbers["residuals"] = float(sum(leaf.nbytes for leaf in jax.tree.leaves(pull_back)))
    programs = numbers["forward"] + numbers["simulation"] + numbers["backward"]
    numbers["rest"] = numbers["step"] - programs
    text = (f"A step takes {1e3 * numbers['step']:.2g} ms. It runs three programs: the network forward ({1e3 * numbers['forward']:.2g} ms), the simulator ({1e3 * numbers['simulation']:.2g} ms), and the "
            f"network backward with the change of the weights ({1e3 * numbers['backward']:.2g} ms). The rest, {1e3 * numbers['rest']:.2g} ms, is what happens between them: results are read, and the best points "
            f"are kept. Measured apart, the network runs forward and backward in one program ({1e3 * numbers['together']:.2g} ms); in two ({1e3 * (numbers['forward'] + numbers['backward']):.2g} ms), "
            f"{numbers['residuals'] / 1e6:.1f} MB of intermediate values go from one to the other through memory. Separate programs let all solvers share one compiled simulator.")  # fmt: skip
    return text, numbers


def _time_per_problem(name: str) -> Callable[[bool], Found]:
    def measure(quick: bool) -> Found:
        """The blocks of a batch one after the other, and shared by all processors, for a small and a large batch."""
        import jax

        import jpo_lib as jpo
        from jpo_book.measure import median_seconds
        from jpo_lib.solvers.evaluation import block_size, evaluation

        problem, sizes = jpo.PROBLEMS[name](), (256, 4096) if quick else (256, 65536)
        data = problem.sample_dataset(sizes[-1], SEED)
        numbers: dict[str, float] = {"block": block_size(problem, sizes[-1])}
        for size in sizes:
            arguments = jax.tree.map(lambda leaf: leaf[:size], (data.x0, data.context, data.y))
            blocks = [
                jax.tree.map(lambda leaf: leaf[first : first + numbers["block"]], arguments)
                for first in range(0, size, numbers["block"])
            ]
            program, part = (
                evaluation(problem).compiled(*arguments)[0],
                evaluation(problem).compiled(*blocks[0])[0],
            )
            turns = [
                [
                    median_seconds(call, 1, 0.1)["median"] / size
                    for call in (
                        lambda: program(*arguments),
                        lambda: [jax.block_until_ready(part(*block)) for block in blocks],
                    )
                ]
                for _ in range(3 if quick else 9)
            ]
            numbers[f"shared{size}"], numbers[f"in_a_row{size}"] = map(float, np.median(turns, axis=0))
        few, many = sizes
        count = -(-few // numbers["block"])
        text = (f"Batches are split into blocks of {numbers['block']} problems. One after the other, these take {1e6 * numbers[f'in_a_row{few}']:.1f} µs per problem for N = {few} and "
                f"{1e6 * numbers[f'in_a_row{many}']:.1f} µs for N = {many}. Shared by {usable_cores()} processors they take {1e6 * numbers[f'shared{few}']:.1f} and {1e6 * numbers[f'shared{many}']:.1f} µs: "
                f"N = {few} has {count} block{'s' if count > 1 else ''}, N = {many} has {many // numbers['block']}. From N = {few} to N = {many} the time per problem changes by a factor of "
                f"{numbers[f'shared{many}'] / numbers[f'shared{few}']:.2f} when blocks are shared, and of {numbers[f'in_a_row{many}'] / numbers[f'in_a_row{few}']:.2f} when they are not.")  # fmt: skip
        return text, numbers

    return measure


def navier_stokes_one_flow(quick: bool) -> Found:
    """How fast the products of matrices are that a step consists of, for one flow and for many, and how many processors are busy."""
    import jax
    import jax.numpy as jnp

    from benchmarks import navier_stokes as flows
    from jpo_book.measure import median_seconds
    from jpo_lib.problems import _vorticity as vorticity

    steps, number, repeats = (10, 8, 3) if quick else (40, 64, 9)
    b = vorticity.basis(flows.NUM_POINTS)
    modes = b.values.shape[1]

    def there_and_back(a):
        return vorticity._to_coefficients(
            vorticity._to_grid(a, b.values, b.slopes), b.values * b.weights, b.slopes * b.weights
        )

    def measured(batch):
        side = flows.ours(batch, 4, steps)
        wall, processor = wall_and_processor(side.run, repeats)
        fields = jnp.asarray(np.random.default_rng(SEED).normal(size=(batch, modes, modes)), jnp.float32)
        # Twenty round trips in one program, so that its start does not count.
        program = jax.jit(
            jax.vmap(lambda a: jax.lax.scan(lambda a, _: (there_and_back(a), None), a, None, length=20)[0])
        )
        trip = median_seconds(lambda: program(fields), repeats, 0.1)["median"] / 20 / batch
        return wall / steps / batch, processor / wall, trip

    points = flows.NUM_POINTS
    work = (
        2.0 * 2 * (modes * modes * points + modes * points * points)
    )  # multiplications and additions of a round trip
    (one, busy_one, trip_one), (many, busy_many, trip_many) = measured(1), measured(number)
    # A step of order 4 has four stages with two round trips each. Backward, each product becomes one as large.
    products = 4 * 2 * 2 * trip_one
    numbers = {
        "step_one": one,
        "step_many": many,
        "busy_one": busy_one,
        "busy_many": busy_many,
        "products": products / one,
        "gflops_one": work / trip_one / 1e9,
        "gflops_many": work / trip_many / 1e9,
    }
    text = (f"One flow keeps {busy_one:.1f} processors busy, {number} flows {busy_many:.1f}. At order 4 a step takes "
            f"{1e6 * one * busy_one:.0f} µs of processor time with one flow and {1e6 * many * busy_many:.0f} µs for each of {number}. With one flow, about {products / one:.0%} of it are products "
            f"of matrices with {modes} and {points} rows, at {work / trip_one / 1e9:.0f} GFLOP/s.")  # fmt: skip
    return text, numbers


def kuramoto_sivashinsky(quick: bool) -> Found:
    """How many processors each side keeps busy."""
    from benchmarks import kuramoto_sivashinsky as motions

    batch, repeats = (64, 3) if quick else (256, 9)
    (here, spent_here), (there, spent_there) = (
        wall_and_processor(side.run, repeats) for side in (motions.ours(batch), motions.exponax_side(batch))
    )
    numbers = {
        "here": here,
        "there": there,
        "busy_here": spent_here / here,
        "busy_there": spent_there / there,
    }
    text = (f"This library keeps {spent_here / here:.1f} processors busy, exponax {spent_there / there:.1f}. In processor time, an evaluation of {batch} problems takes "
            f"{1e3 * spent_here:.0f} ms here and {1e3 * spent_there:.0f} ms there, a ratio of {spent_there / spent_here:.2g}.")  # fmt: skip
    return text, numbers


PROFILES = {
    "kuramoto_sivashinsky": Profile(("kuramoto_sivashinsky",), "exponax", kuramoto_sivashinsky),
    "bfgs_billiards": Profile(
        ("bfgs_billiards",), "loop over SciPy's BFGS with compiled gradients", bfgs_billiards
    ),
    "training_wave_packet": Profile(
        ("training_wave_packet",),
        "its parts, measured apart: simulator and network, each with gradient",
        training_wave_packet,
    ),
    "time_per_problem_wave_packet": Profile(
        ("time_per_problem_wave_packet",), "", _time_per_problem("wave_packet")
    ),
    "time_per_problem_billiards": Profile(
        ("time_per_problem_billiards",), "", _time_per_problem("billiards")
    ),
    "navier_stokes_one_flow": Profile(
        ("navier_stokes_order2_batch1", "navier_stokes_order4_batch1"), "exponax", navier_stokes_one_flow
    ),
}


def run(quick: bool, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """All profiles, for the part "reasons" of the result file."""
    found = []
    for name in PROFILES:
        answer = answer_of("benchmarks.reasons", name, json.dumps(quick), label=f"reasons, {name}", say=say)
        if answer is not None:
            found.append(answer)
            say(f"reasons, {name}: {answer['text']}")
    return found


def add_to(rows: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> None:
    """Give each row that misses its target the sentence that explains it, "reason", and the numbers in it, "reason_numbers"."""
    for row in rows:
        if row["reached"] is False:
            fitting = next(
                (
                    one
                    for one in found
                    if row["name"] in one["rows"] and row["beside"].startswith(one["beside"])
                ),
                None,
            )
            row |= (
                {"reason": fitting["text"], "reason_numbers": fitting["numbers"]}
                if fitting
                else {"reason": "", "reason_numbers": {}}
            )


if __name__ == "__main__":
    chosen = PROFILES[sys.argv[1]]
    sentence, measured = chosen.measure(json.loads(sys.argv[2]) if len(sys.argv) > 2 else False)
    print(json.dumps({"rows": chosen.rows, "beside": chosen.beside, "text": sentence, "numbers": measured}))
