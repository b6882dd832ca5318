"""How accurate a side is: its outputs against those of a reference
that takes much smaller steps in float64."""

from __future__ import annotations

import numpy as np


def judge(
    outputs: dict[str, np.ndarray], reference: dict[str, np.ndarray] | None
) -> tuple[str, dict[str, float]]:
    """Median over the batch of the relative error of each output that the reference has too,
    as text and as numbers.

    The error of an output a with reference b is |a - b| / |b| with the Euclidean norm
    over all but the first axis.
    """
    if reference is None:
        return "", {}
    numbers = {}
    for name in outputs.keys() & reference.keys():
        a, b = (
            np.asarray(values[name], float).reshape(len(values[name]), -1) for values in (outputs, reference)
        )
        numbers[name] = float(np.median(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))
    text = ", ".join(f"{name} {numbers[name]:.1e}" for name in sorted(numbers))
    return (f"relative error: {text}" if text else ""), numbers
