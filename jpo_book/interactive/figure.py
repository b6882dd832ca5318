"""What an interactive figure is: its data, a still picture, and a script of the book that brings it to life."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

TEMPLATE = Path(__file__).with_name("figure.html")
LARGEST = 150_000  # bytes of data on a page


class InteractiveFigure:
    """A figure as a notebook shows it: HTML that a script of the book takes over, and a picture where there is no HTML.

    Without the script, and on paper, the HTML shows the still picture with its alternative text.

    Attributes:
        name: which script takes over (`book/assets/NAME.js`, with underscores), and the anchor on the page.
        data: what the script works with, plain numbers, texts, lists and mappings.
        alt: what the still picture shows, for readers who do not see it.
    """

    def __init__(
        self,
        name: str,
        data: Mapping,
        *,
        draw: Callable,
        figsize: tuple[float, float],
        alt: str,
        caption: str,
    ):
        self.name, self.data, self.alt = name, data, alt
        self._text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        if len(self._text) > LARGEST:
            raise ValueError(
                f"data: expected at most {LARGEST} bytes, got {len(self._text)}; round the numbers or take fewer of them."
            )
        self._caption = caption
        self._picture = _paint(draw, figsize)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        webp, png = io.BytesIO(), io.BytesIO()
        self._picture.save(webp, "WEBP", quality=85, method=4)
        self._picture.save(png, "PNG", optimize=True)
        values = {
            "NAME": self.name,
            "DATA": self._text.replace("</", "<\\/"),
            "STILL": base64.b64encode(webp.getvalue()).decode(),
            "WIDTH": self._picture.width,
            "HEIGHT": self._picture.height,
            "ALT": html.escape(self.alt, quote=True),
            "CAPTION": self._caption,
        }
        page = TEMPLATE.read_text(encoding="utf-8")
        for name, value in values.items():
            page = page.replace(f"@{name}@", str(value))
        return {"text/html": page, "image/png": base64.b64encode(png.getvalue()).decode()}


def _paint(draw: Callable, figsize: tuple[float, float]):
    """The still picture: `draw` gets an empty figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=figsize, dpi=140)
    canvas = FigureCanvasAgg(figure)
    draw(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def rounded(values, digits: int) -> list:
    """Nested lists of numbers with so many digits after the point."""
    array = np.asarray(values, np.float64)
    return (np.round(array, digits) + 0.0).tolist()


def packed(values, low: float, high: float) -> str:
    """Numbers between two limits as whole numbers 0 to 65535 in base64; the script spreads them out again."""
    scaled = np.round(65535 * (np.clip(np.asarray(values, np.float64), low, high) - low) / (high - low))
    return base64.b64encode(scaled.astype("<u2").tobytes()).decode()


def doubles(values) -> str:
    """Numbers in full precision as base64."""
    return base64.b64encode(np.asarray(values, "<f8").tobytes()).decode()
