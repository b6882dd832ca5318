"""Tables of settings, read from the code that uses them: nobody types them twice."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Sequence

import equinox as eqx
import jax

from jpo_book.names import EXPERIMENTS
from jpo_book.studies import load_profile
from jpo_lib.networks.dense import network_for
from jpo_lib.problem import InverseProblem
from jpo_lib.problems import PROBLEMS
from jpo_lib.solvers import SOLVERS, complete


def _number(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(values: dict) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items() if value is not None)


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) if shape else "1"


def _one_problem(problem: InverseProblem):
    """Shapes of context and target of one problem, without simulating it."""
    with problem.precision():
        key = jax.random.key(0)
        context = None if problem.sample_context is None else jax.eval_shape(problem.sample_context, key)
        target = jax.eval_shape(problem.simulate, jax.eval_shape(problem.draw_start, key), context)
    return context, target


def _experiments() -> list[tuple[str, InverseProblem]]:
    return [(experiment.title, PROBLEMS[name]()) for name, experiment in EXPERIMENTS.items()]


def experiments_rows() -> tuple[list[str], list[list[str]]]:
    """Header and rows: what is unknown, known and observed in each experiment, and its settings."""
    rows = []
    for title, problem in _experiments():
        context, target = _one_problem(problem)
        known = ", ".join(_shape(leaf.shape) for leaf in jax.tree.leaves(context)) or "nothing"
        shapes = [str(problem.dimension), known, _shape(target.shape), str(target.dtype)]
        landscape = EXPERIMENTS[problem.name].landscape
        rows.append([title, landscape, *shapes, _listed(dict(problem.settings))])
    return ["experiment", "landscape", "unknowns", "known", "target", "precision", "settings"], rows


def networks_rows() -> tuple[list[str], list[list[str]]]:
    """Header and rows: class, trained arrays and number of trained weights of each experiment's network."""
    rows = []
    for title, problem in _experiments():
        network = eqx.filter_eval_shape(network_for(problem), jax.random.key(0))
        leaves = eqx.filter(jax.tree.leaves(network), lambda leaf: hasattr(leaf, "shape"))
        shapes = [leaf.shape for leaf in leaves if leaf is not None]
        summary = (inspect.getdoc(type(network)) or "").partition("\n\n")[0].replace("\n", " ").rstrip(".")
        words = [f"`{type(network).__name__}`", f"`{summary}`", "; ".join(map(_shape, shapes))]
        rows.append([title, *words, f"{sum(map(math.prod, shapes)):,}"])
    return ["experiment", "network", "what it computes", "trained arrays", "weights"], rows


# What a solver asks of a problem, besides what all have.
NEEDED = {"GaussNewton": "residuals", "EnsembleSmoother": "residuals", "GrowingWindows": "window"}


def optimizers_rows() -> tuple[list[str], list[list[str]]]:
    """Header and rows: the hyperparameters of every solver with each experiment's recommendations filled
    in."""
    rows = []
    for solver_name, cls in SOLVERS.items():
        for title, problem in _experiments():
            if getattr(problem, NEEDED.get(solver_name, "name")) is None:
                continue
            solver = complete(problem, cls())
            values = {field.name: getattr(solver, field.name) for field in dataclasses.fields(solver)}
            if "solver" in values:
                inner = values["solver"]
                most = f"at most {inner.max_evaluations} evaluations each"
                values["solver"] = f"{type(inner).__name__}, {most}"
            shown = {key: value for key, value in values.items() if key not in ("network", "group_size")}
            rows.append([f"`{solver_name}`", title, _listed(shown)])
    return ["solver", "experiment", "hyperparameters"], rows


def profile_rows(profile: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the amount of work of each study of a profile."""
    rows = []
    for name, work in load_profile(profile).items():
        sizes = ", ".join(map(str, work["group_sizes"]))
        seeds = [str(work[f"num_{kind}_seeds"]) for kind in ("data", "network")]
        others = _listed({**work.get("settings", {}), **work.get("joint", {})})
        rows.append([f"`{name}`", str(work["num_problems"]), sizes, *seeds, others])
    return ["study", "problems", "n", "data seeds", "network seeds", "other settings"], rows
