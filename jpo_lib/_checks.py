"""Checks of input at the border: each refusal is one sentence that says what was expected, what came, and
what to do."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def is_number(value) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def check_integer(name: str, value, minimum: int, divisor: int = 1) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < minimum:
        raise ValueError(f"{name}: expected a whole number of at least {minimum}, got {value!r}; pass one.")
    if value % divisor:
        raise ValueError(f"{name}: expected a multiple of {divisor}, got {value}; pass one.")
    return int(value)


def check_counts(**values) -> None:
    """Refuse settings that are not whole numbers above zero. None is a setting that is left open."""
    for name, value in values.items():
        if value is not None:
            check_integer(name, value, 1)


def check_steps(name: str, span, dt) -> int:
    """The number of steps of length dt in a span of time; refuses one that is no multiple of dt."""
    steps = round(span / dt)
    if steps < 1 or abs(steps * dt - span) > 1e-9 * span:
        raise ValueError(f"{name}: expected a multiple of dt = {dt:g}, got {span:g}; change one of them.")
    return steps


def check_positive(**values) -> None:
    """Refuse settings that are not finite numbers above zero."""
    for name, value in values.items():
        if not is_number(value) or not 0 < value < np.inf:
            raise ValueError(f"{name}: expected a finite number above zero, got {value!r}; pass one.")


def check_not_negative(largest: float = np.inf, **values) -> None:
    """Refuse settings that are not finite numbers from zero to the largest."""
    for name, value in values.items():
        if not is_number(value) or not 0 <= value <= largest or value == np.inf:
            kind = "finite number of at least 0" if largest == np.inf else f"number between 0 and {largest:g}"
            raise ValueError(f"{name}: expected a {kind}, got {value!r}; pass one.")


def check_choice(name: str, value, options: Iterable) -> None:
    if value not in options:
        known = ", ".join(map(str, options))
        raise ValueError(f"{name}: expected one of {known}, got {value!r}; choose one of them.")


def check_array(name: str, array, shape: tuple[int, ...], finite: bool = True) -> None:
    if tuple(array.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)}, got {tuple(array.shape)}; reshape it.")
    if finite and not bool(np.all(np.isfinite(np.asarray(array)))):
        count = int(np.size(array) - np.isfinite(np.asarray(array)).sum())
        raise ValueError(f"{name}: expected finite numbers, got {count} values that are not; repair them.")
