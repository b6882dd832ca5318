"""Checks of input at the border: each refusal is one sentence that says what was expected, what came, and
what to do."""

from __future__ import annotations

import numpy as np


def check_integer(name: str, value, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(
            f"{name}: expected a whole number of at least {minimum}, got {value!r}; pass such a number."
        )
    return int(value)


def check_positive(**values) -> None:
    """Refuse settings that are not finite numbers above zero."""
    for name, value in values.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float, np.number))
            or not (0 < value < np.inf)
        ):
            raise ValueError(
                f"{name}: expected a finite number above zero, got {value!r}; pass such a number."
            )


def check_array(name: str, array, shape: tuple[int, ...], finite: bool = True) -> None:
    if tuple(array.shape) != tuple(shape):
        raise ValueError(
            f"{name}: expected shape {tuple(shape)}, got {tuple(array.shape)}; reshape it or check the problem's settings."
        )
    if finite and not bool(np.all(np.isfinite(np.asarray(array)))):
        count = int(np.size(array) - np.isfinite(np.asarray(array)).sum())
        raise ValueError(
            f"{name}: expected finite numbers, got {count} values that are NaN or infinite; remove or repair them."
        )
