"""Gradient alignment measured in training, and the tangent kernels of the networks: what an alignment study
computes.

The alignment of a step u of problem i is the cosine between u_i and the way to the solution, x_true_i - x_i.
A step too short for the precision of x, or no step at all, goes nowhere: it counts as 0.

This module and what it imports decide the numbers of a study; their source is part of a study's identity.
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jpo_lib.problem import Dataset, InverseProblem
from jpo_lib.solvers import BFGS, JointOptimization, complete, solve
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.training import Networks, grouped

RESOLUTION = 8  # a step shorter than so many units in the last place of x is lost in rounding
NUM_RECORDED = 9
REFINEMENT = BFGS(max_evaluations=40, stop_when_solved=True)  # a run that has not arrived by then rarely does


def cosine(step, way, shortest: np.ndarray | float = 0.0) -> np.ndarray:
    """<u, w> / (|u| |w|) along the last axis; 0 where |u| <= shortest, or where either vector is zero.

    Arguments:
        step: u, shape (..., d).
        way: w, shape (..., d).
        shortest: length below which u counts as no step, broadcast to (...), unit of u.
    Returns:
        float64 array (...), dimensionless, in [-1, 1].
    """
    step, way = np.asarray(step, float), np.asarray(way, float)
    length, distance = np.linalg.norm(step, axis=-1), np.linalg.norm(way, axis=-1)
    moved = (length > shortest) & (length > 0) & (distance > 0)
    product = np.sum(step * way, axis=-1) / np.where(moved, length * distance, 1.0)
    return np.where(moved, np.clip(product, -1.0, 1.0), 0.0)


def resolution(x) -> np.ndarray:
    """Length of the shortest change of x that its floating-point numbers resolve safely: 8 eps |x|, shape
    (...), unit of x."""
    x = np.asarray(x)
    return RESOLUTION * np.finfo(x.dtype).eps * np.linalg.norm(x, axis=-1)


def initial_networks(problem: InverseProblem, solver: JointOptimization, data: Dataset, seed: int):
    """The untrained networks of a joint optimization, stacked along an axis of groups as in its
    extras["network"].

    Arguments:
        problem: the family of problems.
        solver: with the problem's recommendations filled in.
        data: N problems.
        seed: network seed.
    """
    size = solver.group_size or len(data)
    num_groups = len(data) // size
    networks = Networks(
        problem, solver, grouped(data, num_groups), np.arange(num_groups), solver.batch_for(size)
    )
    networks.initialize((seed,))  # by the program that training has compiled
    return eqx.combine(networks.weights, networks.programs.static)


@eqx.filter_jit
def _jacobians(networks, y, context, identifiers):
    """J_i of N networks, one for each problem: (N, d, number of weights)."""

    def of_one(network, *inputs):
        weights, static = eqx.partition(network, eqx.is_array_like)
        parts = jax.jacrev(lambda w: eqx.combine(w, static)(*inputs))(weights)
        return jnp.concatenate([part.reshape(part.shape[0], -1) for part in jax.tree.leaves(parts)], axis=1)

    return eqx.filter_vmap(of_one)(networks, y, context, identifiers)


def tangent_kernel(networks, data: Dataset) -> np.ndarray:
    """K_ij = J_i J_j^T,  J_i = d x_i / d theta: how a pull on x_j, passed on through the weights, moves x_i.

    A step of gradient descent on the weights changes x_i by -eta sum_j K_ij g_j, to first order in its
    length.

    Arguments:
        networks: G networks stacked along their leading axis, for groups of N / G neighbouring problems each.
        data: N problems.
    Returns:
        array (N, d, N, d), unit x^2 (weights are dimensionless); zero between problems of different groups,
        whose networks share nothing.

    Source: Jacot, Gabriel & Hongler (2018), arXiv 1806.07572.
    """
    arrays, static = eqx.partition(networks, eqx.is_array_like)
    num_groups, count = len(jax.tree.leaves(arrays)[0]), data.num_problems
    # Every problem gets a copy of its group's network, so that one program serves all group sizes.
    copies = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), count // num_groups, axis=0), arrays)
    rows = np.asarray(_jacobians(eqx.combine(copies, static), data.y, data.context, data.identifiers), float)
    group = np.repeat(np.arange(num_groups), count // num_groups)
    flat = rows.reshape(count * rows.shape[1], -1)
    kernel = (flat @ flat.T).reshape(count, rows.shape[1], count, rows.shape[1])
    return kernel * (group[:, None, None, None] == group[:, None])


def run_alignment_cell(problem: InverseProblem, cell) -> tuple[xr.Dataset, dict[str, float]]:
    """Train joint optimization with groups of n problems and measure, for each network seed,

        alignment          cos(x_i' - x_i, x_true_i - x_i)   of training steps x -> x', evenly spaced over the
        training, the last one left out alignment_own      cos(-g_i, x_true_i - x_i)         of gradient
        descent on the problem's own training loss at the same x agreement          cos(x_i' - x_i, -g_i)
        of the two alignment_kernel   cos(-(K g)_i, x_true_i - x_i)     of plain gradient descent on the
        weights, at the first step kernel             tr K_ij                           before and after
        training loss, solved       of the best output, and of at most 40 evaluations of BFGS from there
        (solver "Joint", "JointRefined")

    Arguments:
        problem: the family of problems.
        cell: of a study; its options are those of `JointOptimization`.
    Returns:
        the results, and the seconds of the parts.
    """
    data, seeds = problem.sample_dataset(cell.num_problems, cell.data_seed), list(cell.network_seeds)
    solver = complete(
        problem,
        JointOptimization(group_size=cell.group_size, **{"num_recorded": NUM_RECORDED, **cell.options}),
        len(data),
    )
    joint = solve(problem, data, solver, seed=seeds)
    refined = solve(problem, data, REFINEMENT, x0=joint.x, seed=seeds)
    # The learning rate may have fallen to nothing in the last step: rounding would decide its direction.
    x, x_next = (joint.extras[name][:, :-1] for name in ("x_recorded", "x_recorded_next"))
    x_true = np.asarray(data.x_true)
    with problem.precision():
        gradient, loss = _own_gradients(problem, data, x)
        kernels = _kernels(problem, solver, data, seeds, joint.extras["network"])
    way, step = (problem.difference(np.asarray(end, float), np.asarray(x, float)) for end in (x_true, x_next))
    # Training clips the gradient of each problem before it enters the network.
    pull = gradient[:, 0] * np.minimum(
        1.0, solver.clip_problem / np.maximum(np.linalg.norm(gradient[:, 0], axis=-1, keepdims=True), 1e-30)
    )
    descent = -np.einsum("siajb,sjb->sia", kernels["start"], pull)
    traces = np.stack([np.einsum("siaja->sij", kernel) for kernel in kernels.values()], axis=1)
    recorded, single = ("network_seed", "recorded", "problem"), ("network_seed", "problem")
    results = xr.Dataset(
        {
            "alignment": (recorded, cosine(step, way, resolution(x))),
            "alignment_own": (recorded, cosine(-gradient, way)),
            "agreement": (recorded, cosine(step, -gradient, resolution(x))),
            "zero_gradient": (recorded, np.all(gradient == 0.0, axis=-1)),
            "alignment_kernel": (single, cosine(descent, way[:, 0])),
            "recorded_loss": (recorded, loss),
            "x": ((*recorded, "parameter"), x),
            "x_final": ((*single, "parameter"), joint.extras["x_final"]),
            "kernel": (("network_seed", "stage", "problem", "other"), traces.astype(np.float32)),
            "loss": (("solver", *single), np.stack([joint.loss, refined.loss])),
            "solved": (("solver", *single), np.stack([joint.solved, refined.solved])),
            "x_true": (("problem", "parameter"), x_true),
            "threshold": ("problem", np.asarray(data.threshold)),
            "step": ("recorded", joint.extras["recorded_steps"][:-1]),
        },
        coords={"network_seed": seeds, "stage": list(kernels), "solver": ["Joint", "JointRefined"]},
    )
    return results, {
        f"{name}.{part}": round(getattr(result, f"{part}_seconds"), 4)
        for name, result in (("Joint", joint), ("refinement", refined))
        for part in ("compile", "run")
    }


def _kernels(
    problem: InverseProblem, solver: JointOptimization, data: Dataset, seeds: Sequence[int], trained
) -> dict[str, np.ndarray]:
    """`tangent_kernel` before and after training, for each network seed: (S, N, d, N, d)."""
    arrays, static = eqx.partition(trained, eqx.is_array_like)
    start = [tangent_kernel(initial_networks(problem, solver, data, seed), data) for seed in seeds]
    end = [
        tangent_kernel(eqx.combine(jax.tree.map(lambda leaf, s=s: leaf[s], arrays), static), data)
        for s in range(len(seeds))
    ]
    return {"start": np.stack(start), "end": np.stack(end)}


def _own_gradients(problem: InverseProblem, data: Dataset, x) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the training loss in x and the losses L at recorded points (S, K, N, d)."""
    evaluate, _ = evaluation(problem, problem.training_loss).compiled(
        jnp.asarray(x[0, 0]), data.context, data.y
    )
    losses, gradients = zip(
        *(evaluate(jnp.asarray(point), data.context, data.y) for point in x.reshape(-1, *x.shape[2:]))
    )
    return np.stack(gradients).reshape(x.shape), np.stack(losses).reshape(x.shape[:3])
