"""Numbers and intervals as text for the pages of the book, so that nobody types them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

ENOUGH_NETWORKS = 5  # with fewer network seeds an interval is too narrow, and the page says so


def unbroken(text: str) -> str:
    """The text so that no line ends inside a number. Code, between backticks, stays as it is.

    There is a hard space before %, ranges are held together, and a minus stands for a hyphen.
    """
    if "`" in text:
        return text
    text = re.sub(r"(?<=\d) %", "\u00a0%", text)
    text = re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", text)
    return re.sub(r"(?<![\w.)-])-(?=\d)", "−", text)


def glue(**values) -> None:
    """Store numbers under names that a page shows with {glue:text}; without MyST-NB they are printed."""
    try:
        from myst_nb import glue as store
    except ImportError:
        for name, value in values.items():
            print(f"{name} = {value}")
        return
    for name, value in values.items():
        store(name, unbroken(value) if isinstance(value, str) else str(value), display=False)


def percent(value: float) -> str:
    """A proportion as text, without hiding that 0.998 is not 1."""
    value = round(float(value), 9)  # a mean that is all but 1 by round-off is 1
    digits = 0 if value in (0, 1) or 0.005 <= value <= 0.995 else 1
    return f"{100 * value:.{digits}f} %"


def counted(number: int, noun: str) -> str:
    """A number of things as text: "1 data set", "2 data sets"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def with_interval(rate: Any) -> str:
    """A proportion with its 95 % interval as text; it has a value and an interval."""
    return "{} ({} to {})".format(*map(percent, (rate.value, *rate.interval)))


def difference_with_interval(found: Any) -> str:
    """A difference with its 95 % interval as text: "+0.05 (+0.01 to +0.09)"."""
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(found.value, *found.interval)


def about_intervals(networks: int) -> str:
    """How the intervals of a page are made, as sentences, with what fewer than five networks are worth.

    Arguments:
        networks: the fewest network seeds that one of them rests on.
    """
    text = (
        "Ranges in brackets are 95 % intervals: problems are drawn again within their data set, "
        "and network seeds once for all data sets."
    )
    few = f" Some rest on only {counted(networks, 'network seed')}: with fewer than five they are too narrow."
    return text + (few if networks < ENOUGH_NETWORKS else "")


def shares(signs: np.ndarray) -> str:
    """How often +1, 0 and -1 occur, as text: better / tie / worse."""
    return " / ".join(percent(float(np.mean(signs == sign))) for sign in (1, 0, -1))


def duration(seconds: float) -> str:
    """A time with three significant digits and a unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
