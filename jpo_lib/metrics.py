"""How two solvers are compared: better, tie or worse with a tolerance, and solved rates, with intervals. And
what a solution costs.

Every method gets the same budget k for each problem. A problem that is solved spends nothing more; only
training goes on, since a network learns from all problems of its group, solved or not. With t_i the
evaluations after which problem i was solved first, T_i those of its training (zero for classical solvers) and
m_i all that it used, problem i spends

    s_i(k) = min(k, max(t_i, T_i))  if it is solved,    s_i(k) = min(k, m_i)  if not.

The cost of solving a fraction p is the mean of s_i(k) for the smallest k at which a fraction p is solved.
"""

from __future__ import annotations

import dataclasses

import numpy as np

RELATIVE_TOLERANCE = 1e-3


def wilson_interval(count, total, confidence: float = 0.95):
    """Interval of a proportion p = k / m: all p with |k / m - p| <= z sqrt(p (1 - p) / m).

    Arguments:
        count: k, number of successes.
        total: m, number of independent trials, at least 1.
        confidence: probability of the two-sided interval, between 0 and 1.
    Returns:
        (lower, upper), dimensionless.
    Raises:
        ValueError: if the numbers do not describe a proportion.

    Source: Wilson (1927), doi:10.1080/01621459.1927.10502953.
    """
    from scipy.special import ndtri  # imported here: SciPy's load time would double that of the library

    count, total = np.asarray(count, float), np.asarray(total, float)
    if not (np.all(total >= 1) and np.all((count >= 0) & (count <= total))):
        raise ValueError(
            f"count, total: expected 0 <= count <= total, 1 <= total, got {count}, {total}; count again."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}; 0.95 is usual.")
    z = ndtri(0.5 + 0.5 * confidence)
    rate = count / total
    centre = (rate + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * np.sqrt(rate * (1 - rate) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    # At 0 and 1 the interval reaches its end exactly; round-off must not hide that.
    return np.where(count == 0, 0.0, centre - half)[()], np.where(count == total, 1.0, centre + half)[()]


@dataclasses.dataclass(frozen=True)
class Rate:
    """k / m, a proportion, with its 95 % Wilson interval; dimensionless.

    Attributes:
        count: k, number of successes.
        total: m, number of trials.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        lower, upper = wilson_interval(self.count, self.total)
        return float(lower), float(upper)

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        lower, upper = self.interval
        return f"{self.value:.3f} [{lower:.3f}, {upper:.3f}]"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Outcome of `compare(a, b)`: how often a is better than, ties with or is worse than b, and what each
    solved.

    The intervals treat all problems and seeds as independent trials. Problems that share a network are not
    quite that; figures therefore show every seed as well.

    Attributes:
        better, tie, worse: shares of the problems, a `Rate` each; they add up to 1.
        solved, solved_reference: shares that a and b solved.
    """

    better: Rate
    tie: Rate
    worse: Rate
    solved: Rate
    solved_reference: Rate

    def __str__(self) -> str:
        return (
            f"better {self.better}, tie {self.tie}, worse {self.worse}; "
            f"solved {self.solved} against {self.solved_reference} ({self.better.total} problems)"
        )


def outcome(loss, solved, reference_loss, reference_solved, tolerance: float = RELATIVE_TOLERANCE):
    """+1 where the first is better, 0 for a tie, -1 where it is worse, elementwise.

    Two solutions tie when both are solved, or when |a - b| <= tolerance * max(a, b). A loss that is not
    finite is worse than any that is.

    Arguments:
        loss, reference_loss: a and b, of equal or broadcastable shapes, unit of the loss.
        solved, reference_solved: whether each is solved, of the same shapes.
        tolerance: relative tolerance, dimensionless.
    Returns:
        whole numbers, of the common shape.
    """
    a, b = np.broadcast_arrays(np.asarray(loss, float), np.asarray(reference_loss, float))
    a, b = (np.where(np.isfinite(v), v, np.inf) for v in (a, b))
    with np.errstate(invalid="ignore"):
        close = np.isfinite(a) & np.isfinite(b) & (
            np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b))
        ) | (a == b)
    tie = close | (np.asarray(solved, bool) & np.asarray(reference_solved, bool))
    return np.where(tie, 0, np.where(a < b, 1, -1))


def compare(result, reference, tolerance: float = RELATIVE_TOLERANCE) -> Comparison:
    """Better where L_a < L_b, worse where L_a > L_b, tie where |L_a - L_b| <= tolerance max(L_a, L_b) or both
    are solved.

    The shares of better, tie and worse, and both solved rates, have 95 % Wilson intervals; see
    `wilson_interval`. "Strictly better" alone is never reported: among failed runs it is a coin toss.

    Arguments:
        result, reference: two `Result`s (or data sets with the variables loss and solved) with equal numbers
            of problems; a result with a leading axis of seeds is compared seed by seed.
        tolerance: relative tolerance, dimensionless, at least 0.
    Returns:
        a `Comparison`.
    Raises:
        ValueError: if the numbers of problems differ or the tolerance is negative.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number of at least 0, got {tolerance!r}; 1e-3 is usual.")
    loss, reference_loss = np.asarray(result.loss), np.asarray(reference.loss)
    if loss.shape[-1] != reference_loss.shape[-1]:
        counts = f"{loss.shape[-1]} and {reference_loss.shape[-1]} problems"
        raise ValueError(f"compare: expected results on the same problems, got {counts}; use one data set.")
    signs = outcome(loss, result.solved, reference_loss, reference.solved, tolerance)
    masks = signs > 0, signs == 0, signs < 0, np.asarray(result.solved), np.asarray(reference.solved)
    return Comparison(*(Rate(int(np.sum(mask)), int(np.size(mask))) for mask in masks))


def spent(solved_at, num_evaluations, training) -> np.ndarray:
    """What each problem spends when no budget is set: max(t_i, T_i) if it is solved, m_i if not. Arguments as
    in `cost_to_solve`."""
    solved_at = np.asarray(solved_at)
    return np.where(solved_at > 0, np.maximum(solved_at, training), num_evaluations)


def cost_to_solve(solved_at, num_evaluations, training, fraction: float) -> float:
    """Mean evaluations per problem until a fraction of the problems is solved; NaN where that never happens.

    Arguments:
        solved_at: t_i, shape (N,), evaluations; 0 for problems that were never solved.
        num_evaluations: m_i, shape (N,).
        training: T_i, shape (N,) or a number.
        fraction: p, between 0 and 1.
    Raises:
        ValueError: if the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction: expected a number above 0 and at most 1, got {fraction!r}; try 0.9.")
    solved_at, num_evaluations = np.asarray(solved_at), np.asarray(num_evaluations)
    solved = solved_at > 0
    needed = int(np.ceil(fraction * solved_at.size - 1e-9))
    if solved.sum() < needed:
        return float("nan")
    budget = np.sort(solved_at[solved])[needed - 1]
    return float(np.minimum(spent(solved_at, num_evaluations, training), budget).mean())
