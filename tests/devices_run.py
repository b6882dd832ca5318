"""Solve problems on several devices, in a process of its own. Run by test_devices.py.

python devices_run.py FOLDER                      on all devices of one process
python devices_run.py FOLDER PORT NUMBER COUNT    on all devices of COUNT processes, as the one of that NUMBER
"""

import dataclasses
import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jpo_lib as jpo
from jpo_lib.solvers import evaluation

COLLECTIVES = (
    r"\b(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast)"
    r"(?:-start)?\("
)


def spring(x, context):
    """Halves x until it is short, and counts: a loop whose length depends on the problem."""
    short, halvings = jax.lax.while_loop(
        lambda state: jnp.max(jnp.abs(state[0])) > 0.5,
        lambda state: (state[0] / 2, state[1] + 1),
        (jax.lax.stop_gradient(x), 0),
    )
    return jnp.concatenate([jnp.sin(x), x * jnp.mean(short), jnp.cos(x[:1] * x[1:])]) / (1.0 + 0.1 * halvings)


PROBLEM = jpo.InverseProblem(
    name="spring",
    dimension=2,
    simulate=spring,
    loss=lambda output, y: jnp.sum((output - y) ** 2),
    threshold=lambda output, y: jnp.float32(1e-6),
    sample_x=lambda key: jax.random.uniform(key, (2,), minval=-3.0, maxval=3.0),
    bounds=((-3.0, -3.0), (3.0, 3.0)),
)


def solvers():
    """One network for all problems, as many networks as devices, and fewer networks than devices."""
    joint = jpo.JointOptimization(num_steps=8, batch_size=32)
    return {
        "BFGS": jpo.BFGS(max_evaluations=20),
        "one": joint,
        "eight": dataclasses.replace(joint, group_size=8, batch_size=None),
        "four": dataclasses.replace(joint, group_size=16, batch_size=16),
        "pairs": jpo.Supervised(num_steps=8, num_pairs=32),
    }


def solve_all(devices, names=None):
    results, data = {}, PROBLEM.sample_dataset(64, 11)
    for name, solver in solvers().items():
        if names and name not in names:
            continue
        result = jpo.solve(PROBLEM, data, solver, seed=[0], devices=devices)
        results |= {
            f"{name}/{field}": getattr(result, field)[0] for field in ("x", "loss", "num_evaluations")
        }
    return results


def recorded_programs():
    """Keep the name and the collective operations of each program that is compiled from now on."""
    kept, compiled = [], evaluation.Program.compiled

    def compile_and_keep(self, *arguments):
        program, seconds = compiled(self, *arguments)
        # JAX's compiled program, which is annotated as any function.
        text = program.as_text()  # pyright: ignore[reportFunctionMemberAccess]
        kept.append((self._function.__name__, sorted(re.findall(COLLECTIVES, text))))
        return program, seconds

    evaluation.Program.compiled = compile_and_keep
    return kept


if __name__ == "__main__":
    folder, cluster = Path(sys.argv[1]), sys.argv[2:]
    if cluster:
        port, number, count = map(int, cluster)
        jax.distributed.initialize(f"localhost:{port}", count, number)
    programs = recorded_programs()
    results = solve_all(jax.devices(), ("BFGS", "one") if cluster else None)
    if jax.process_index() == 0:
        np.savez(folder / "results.npz", **results)
        (folder / "programs.json").write_text(json.dumps(programs))
