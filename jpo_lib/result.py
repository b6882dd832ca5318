"""What a solver returns, and why it stopped."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


class Status(enum.IntEnum):
    """Why a solver stopped working on a problem."""

    RUNNING = -1
    SOLVED = 0
    CONVERGED = 1
    ZERO_GRADIENT = 2
    STALLED = 3
    LINE_SEARCH_FAILED = 4
    BUDGET_SPENT = 5
    DIVERGED = 6


STATUS_TEXTS = {
    Status.RUNNING: "The solver is still running.",
    Status.SOLVED: "The loss fell below the solved threshold.",
    Status.CONVERGED: "The gradient is smaller than its tolerance: a stationary point.",
    Status.ZERO_GRADIENT: "The gradient is exactly zero at the start: no direction to follow.",
    Status.STALLED: "The steps became smaller than round-off.",
    Status.LINE_SEARCH_FAILED: "The line search found no acceptable step, usually because of round-off "
    "or a jump.",
    Status.BUDGET_SPENT: "The budget of steps or evaluations is spent.",
    Status.DIVERGED: "The simulation returned a loss or gradient that is not finite.",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """x_i = the point of lowest L(F(x, c_i), y_i) among all that were evaluated, for each of N problems.

    With several seeds all arrays have a leading axis (S, ...). Losses have the unit of the problem's loss;
    counts and codes are dimensionless.

    Attributes:
        x: best parameters seen, shape (N, d), unit of x.
        loss: loss at x, shape (N,).
        loss_history: best loss after k = 1, 2, ... evaluations of that problem, shape (N, K). Methods
            that run the simulation without a gradient may count those runs, too.
        num_evaluations: evaluations of the loss and its gradient spent on each problem, shape (N,).
        num_simulations: runs of the simulation without a gradient, its share of those that are for several
            problems included, shape (N,).
        forward_cost: what a run without a gradient costs, in evaluations, dimensionless; see
            `InverseProblem`.
        solved: loss < threshold, shape (N,).
        status: why the solver stopped, codes of `Status`, shape (N,).
        compile_seconds, run_seconds: wall time of compilation and of the work itself, seconds.
        solver: name and hyperparameters of the solver.
        seed: seed or seeds that it ran with.
        extras: further arrays of the solver (see its docstring).
    Raises:
        ValueError: if the property `network` is asked of a result without networks.
    """

    x: np.ndarray
    loss: np.ndarray
    loss_history: np.ndarray
    num_evaluations: np.ndarray
    solved: np.ndarray
    status: np.ndarray
    compile_seconds: float
    run_seconds: float
    solver: str
    seed: int | tuple[int, ...]
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_simulations: Any = 0
    forward_cost: float = 1.0

    def __post_init__(self):
        if self.num_evaluations is not None:  # one number stands for all problems
            shape = np.shape(self.num_evaluations)
            object.__setattr__(self, "num_simulations", np.broadcast_to(self.num_simulations, shape))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, also where a single one was asked for."""
        return self.seed if isinstance(self.seed, tuple) else (self.seed,)

    @property
    def num_runs(self) -> np.ndarray:
        """Runs of the simulation with a gradient or without, shape (N,)."""
        return self.num_evaluations + self.num_simulations

    @property
    def cost(self) -> np.ndarray:
        """num_evaluations + forward_cost num_simulations, shape (N,): the price in evaluations of loss and
        gradient."""
        return self.num_evaluations + self.forward_cost * self.num_simulations

    @property
    def network(self) -> Any:
        """The trained networks, callable on data sets: `result.network(data)`. See `TrainedNetworks`.

        Raises:
            ValueError: if the solver trains none.
        """
        if "trained" not in self.extras:
            needed, kind = "that of a solver that trains networks", self.solver.partition("(")[0]
            raise ValueError(f"result: expected {needed}, got that of {kind}; train a network first.")
        return self.extras["trained"]

    @property
    def status_text(self) -> np.ndarray:
        """The status codes as sentences, shape (N,)."""
        return np.vectorize(lambda code: STATUS_TEXTS[Status(code)], otypes=[object])(self.status)

    def to_dataset(self) -> xr.Dataset:
        """The arrays with named dimensions; timings are left out, so that equal runs give equal datasets.

        Returns:
            an `xarray.Dataset` with the dimensions problem, parameter and evaluation, and seed where there
            are several.
        """
        import xarray as xr  # imported here: its load time would triple that of the library

        lead = ("seed",) if self.loss.ndim == 2 else ()
        last = {"x": ["parameter"], "loss_history": ["evaluation"]}
        names = ("x", "loss", "loss_history", "num_evaluations", "solved", "status")
        dataset = xr.Dataset(
            {name: ([*lead, "problem", *last.get(name, [])], getattr(self, name)) for name in names}
        )
        if lead:
            dataset = dataset.assign_coords(seed=list(self.seeds))
        return dataset.assign_attrs(solver=self.solver)

    def __repr__(self) -> str:
        runs = self.num_simulations.mean()
        runs = f"{runs:.1f} runs without gradient, " if runs else ""
        return (
            f"Result({self.solver}: {self.loss.shape[-1]} problems, {self.solved.mean():.1%} solved, "
            f"{self.num_evaluations.mean():.1f} evaluations per problem, {runs}"
            f"{self.run_seconds:.2f} s + {self.compile_seconds:.2f} s compilation)"
        )
