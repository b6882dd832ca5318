"""A training player: the answers and losses of all problems while the network learns, BFGS beside it, and the alignment."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jpo_book.interactive.figure import InteractiveFigure, packed, rounded
from jpo_book.interactive.paths import follow
from jpo_lib._checks import check_integer
from jpo_lib.problem import Dataset, InverseProblem
from jpo_lib.solvers import BFGS, JointOptimization, solve
from jpo_lib.solvers.evaluation import evaluation

FRAMES = 100
LOW, HIGH = -1.0, 4.0  # log10 of the loss over the threshold, in the data of the page


def alignment(update, error) -> np.ndarray:
    """<u, e> / (|u| |e|) for each problem, u and e of shape (..., N, d) -> (..., N); zero where one of them vanishes."""
    update, error = np.asarray(update, np.float64), np.asarray(error, np.float64)
    product = np.sum(update * error, axis=-1)
    size = np.linalg.norm(update, axis=-1) * np.linalg.norm(error, axis=-1)
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


def play_training(
    problem: InverseProblem, data: Dataset, *, num_steps: int | None = None, seed: int = 0
) -> InteractiveFigure:
    """x_i = net(y_i; theta_k) and L(F(x_i), y_i) after k training steps, with BFGS after k evaluations beside it.

    The alignment of step k is the mean over problems of <u_i, x_i* - x_i> / (|u_i| |x_i* - x_i|), with u_i the change of
    the network's answer in that step, or with u_i = -grad L_i, the direction that problem i alone would take there.

    Arguments:
        problem: a family of problems with one unknown and a box.
        data: problems with known truths.
        num_steps: training steps; the problem's recommendation when None.
        seed: of the network.
    Raises:
        ValueError: for more unknowns, or without box or truths.
    """
    if problem.dimension != 1 or problem.bounds is None or data.x_true is None:
        raise ValueError(
            f"problem: expected one unknown, a box and known truths, got {problem.name!r} with {problem.dimension} unknown(s); "
            "the figure draws answers against truths."
        )
    if num_steps is not None:
        check_integer("num_steps", num_steps, 1)
    joint = solve(problem, data, JointOptimization(num_steps=num_steps, num_recorded=FRAMES), seed=[seed])
    steps, truth = joint.extras["recorded_steps"], np.asarray(data.x_true)
    answers, answers_next = (joint.extras[name][0] for name in ("x_recorded", "x_recorded_next"))
    evaluate, _ = evaluation(problem).compiled(data.x0, data.context, data.y)
    measured = [evaluate(jnp.asarray(x), data.context, data.y) for x in answers]
    losses, gradients = (np.stack([np.asarray(part[k]) for part in measured]) for k in (0, 1))
    threshold = np.asarray(data.threshold)
    bfgs = follow(problem, data, BFGS())
    best = np.minimum.accumulate(bfgs.losses, axis=0)
    (lower,), (upper,) = problem.bounds
    room = upper - lower
    box = [float(lower - 0.5 * room), float(upper + 0.5 * room)]
    error = truth - answers
    page = dict(
        num_problems=len(data),
        steps=(steps + 1).tolist(),
        bounds=[float(lower), float(upper)],
        box=box,
        range=[LOW, HIGH],
        truth=rounded(truth[:, 0], 4),
        joint=dict(x=packed(answers[..., 0], *box), loss=packed(np.log10(losses / threshold), LOW, HIGH)),
        bfgs=dict(
            count=len(best),
            x=packed(bfgs.points[..., 0], *box),
            loss=packed(np.log10(best / threshold), LOW, HIGH),
        ),
        alignment=dict(
            joint=rounded(alignment(answers_next - answers, error).mean(axis=1), 4),
            own=rounded(alignment(-gradients, error).mean(axis=1), 4),
        ),
    )
    return InteractiveFigure(
        "play-training",
        page,
        draw=lambda figure: _draw(figure, page, losses / threshold, best / threshold),
        figsize=(7.4, 3.0),
        alt="Left: the losses of all problems against evaluations on logarithmic axes; the lines of BFGS become level early, those of "
        "joint optimization go on changing. Right: the alignment of the network's updates during training, and that of each problem's "
        "own gradient.",
        caption="<strong>Watch the training.</strong> Press <em>Play</em>, or move the slider. Above: the answers for all problems against "
        "their true centres; on the diagonal an answer is right, filled markers are solved. Middle: loss divided by the threshold "
        "of each problem, thin lines, and the medians, thick; for JPO the loss of the current answer, for BFGS the lowest so far, "
        "with as many evaluations as the training has made steps. Below: the alignment, averaged over the problems: how well the "
        "network's update of each answer points to the truth (1: all in the right direction, −1: all in the wrong one), and how "
        "well the problem's own gradient would at the same place. Because of the noise, the lowest loss lies beside the truth, so "
        "that the alignment loses its meaning once an answer is that near.",
    )


def _draw(figure, page, joint, bfgs) -> None:
    """The still picture: all losses, and the alignment."""
    from jpo_book.names import METHODS

    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2)
    for name, ratio, evaluations in (
        ("BFGS", bfgs, np.arange(1, len(bfgs) + 1)),
        ("Joint", joint, page["steps"]),
    ):
        label, colour, _, _ = METHODS[name]
        left.plot(evaluations, ratio, color=colour, linewidth=0.4, alpha=0.3)
        left.plot(evaluations, np.median(ratio, axis=1), color=colour, linewidth=2, label=label)
    left.axhline(1.0, color="#777777", linewidth=0.9, linestyle=":")
    left.set(xscale="log", yscale="log", xlabel="evaluations per problem", ylabel="loss / solved threshold")
    left.legend(loc="best")
    right.plot(
        page["steps"], page["alignment"]["joint"], color=METHODS["Joint"][1], label="update of the network"
    )
    right.plot(
        page["steps"],
        page["alignment"]["own"],
        color=METHODS["GradientDescent"][1],
        linestyle="--",
        label="own gradient",
    )
    right.axhline(0.0, color="#777777", linewidth=0.9)
    right.set(xscale="log", ylim=(-1.05, 1.05), xlabel="training step", ylabel="alignment (dimensionless)")
    right.legend(loc="best")
