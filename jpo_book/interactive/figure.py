"""What an interactive figure is: its data, a still picture,
and a script of the book that brings it to life."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import yaml

from jpo_book.figures.layout import SteadyLayout
from jpo_book.figures.page import Page, encoded, paint
from jpo_lib._checks import check_integer

FOLDER = Path(__file__).parent
LARGEST = 150_000  # bytes of data on a page


class InteractiveFigure(Page):
    """A figure as a notebook shows it: HTML that a script of the book takes over, and a picture where there
    is no HTML.

    Without the script, and on paper, the HTML shows the still picture with its alternative text.

    Arguments:
        name: which script takes over (`book/assets/NAME.js`), and the anchor on the page.
        data: what the script works with, plain numbers, texts, lists and mappings.
        draw: function (figure) that draws the still picture on an empty figure.
        figsize: width and height, inches.
        alt: what the still picture shows, for readers who do not see it.
        caption: HTML below the figure.
    Raises:
        ValueError: for too many data.
    """

    def __init__(self, name: str, data: Mapping, *, draw: Callable, figsize: tuple, alt: str, caption: str):
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        if len(text) > LARGEST:
            raise ValueError(f"data: expected at most {LARGEST} bytes, got {len(text)}; round or take fewer.")
        self.name, self.data = name, data
        still = paint(draw, figsize, 140, layout=SteadyLayout())
        picture, text = encoded(still, "WEBP", quality=85, method=4), text.replace("</", "<\\/")
        template = FOLDER / "figure.html"
        super().__init__(template, still, alt, NAME=name, DATA=text, STILL=picture, CAPTION=caption)


def texts(name: str, **values) -> dict[str, str]:
    """The alternative text and the caption of a figure, with values filled in."""
    found = yaml.safe_load((FOLDER / "texts.yaml").read_text(encoding="utf-8"))[name]
    return {kind: text.format(**values) for kind, text in found.items()}


def check_index(name: str, index, count: int) -> None:
    check_integer(name, index, 0)
    if index >= count:
        raise ValueError(f"{name}: expected a problem from 0 to {count - 1}, got {index}; choose one.")


def rounded(values, digits: int) -> list:
    """Nested lists of numbers with so many digits after the point."""
    array = np.asarray(values, np.float64)
    return (np.round(array, digits) + 0.0).tolist()


def significant(values, digits: int) -> list[float]:
    """Numbers with so many significant digits."""
    return [float(f"{value:.{digits}g}") for value in np.ravel(values)]


def packed(values, low: float, high: float) -> str:
    """Numbers between two limits as whole numbers 0 to 65535 in base64; the script spreads them out again."""
    scaled = np.round(65535 * (np.clip(np.asarray(values, np.float64), low, high) - low) / (high - low))
    return base64.b64encode(scaled.astype("<u2").tobytes()).decode()


def doubles(values) -> str:
    """Numbers in full precision as base64."""
    return base64.b64encode(np.asarray(values, "<f8").tobytes()).decode()
