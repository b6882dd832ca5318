"""`python -m benchmarks.forward_cost`: what a run of each simulation without a gradient costs.

The unit is an evaluation of loss and gradient. It writes jpo_lib/problems/forward_costs.json, from which
`Result.cost` takes its prices."""

from __future__ import annotations

import json
import time

import jax
import numpy as np

import jpo_lib as jpo
from benchmarks import harness
from jpo_lib.solvers.evaluation import evaluation, forward_evaluation

TURNS, NUM_PROBLEMS, SEED = 41, 64, 990
PLACE = harness.ROOT / "jpo_lib" / "problems" / "forward_costs.json"


def measured(name: str) -> float:
    """Median over turns of the ratio of two times that follow one another, of batches of 64 problems."""
    problem = jpo.PROBLEMS[name]()
    with problem.precision():
        data = problem.sample_dataset(NUM_PROBLEMS, SEED)
        arguments = jax.device_get((data.x0, data.context, data.y))
        programs = [make(problem).compiled(*arguments)[0] for make in (forward_evaluation, evaluation)]
        ratios = []
        for _ in range(TURNS):
            seconds = []
            for program in programs:
                begun = time.perf_counter()
                jax.block_until_ready(program(*arguments))
                seconds.append(time.perf_counter() - begun)
            ratios.append(seconds[0] / seconds[1])
        return round(float(np.median(ratios)), 2)


if __name__ == "__main__":
    PLACE.write_text(json.dumps({name: measured(name) for name in jpo.PROBLEMS}, indent=2) + "\n")
    print(PLACE.read_text())
