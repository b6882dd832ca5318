"""What a notebook shows beside plain figures: HTML from a template, with a still picture."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


class Page:
    """HTML as a notebook shows it, and the still picture where there is no HTML (a PDF, say).

    Arguments:
        template: file with places @NAME@.
        still: the picture.
        alt: what it shows, for readers who do not see it.
        values: by the names of the places; ALT, WIDTH and HEIGHT are filled in here.
    """

    def __init__(self, template: Path, still: Image.Image, alt: str, **values):
        values |= {"ALT": html.escape(alt, quote=True), "WIDTH": still.width, "HEIGHT": still.height}
        self.html, self.alt = template.read_text(encoding="utf-8"), alt
        for name, value in values.items():
            self.html = self.html.replace(f"@{name}@", str(value))
        self._png = encoded(still, "PNG", optimize=True)

    def __repr__(self) -> str:  # the usual one names an address in memory, another one in each run
        return self.alt

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "image/png": self._png}


def paint(draw: Callable, figsize: tuple[float, float], dots_per_inch: int, layout=None) -> Image.Image:
    """The picture of a figure; `draw` gets it empty."""
    figure = Figure(figsize=figsize, dpi=dots_per_inch, layout=layout)
    canvas = FigureCanvasAgg(figure)
    draw(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def encoded(image: Image.Image, kind: str, **options) -> str:
    """A picture as a file in base64."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()
