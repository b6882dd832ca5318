"""Short films of a motion: all frames in one picture, and a small player that starts only when asked."""

from __future__ import annotations

import base64
import html
import io
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

TEMPLATE = Path(__file__).with_name("film.html")


class Film:
    """A film as a notebook shows it: a player in HTML, and the still picture where there is no HTML (a PDF, say)."""

    def __init__(self, player: str, still: bytes):
        self.player, self.still = player, still

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.player, "image/png": base64.b64encode(self.still).decode()}


def show_film(
    draw: Callable,
    num_frames: int,
    *,
    figsize: tuple[float, float],
    alt: str,
    caption: str = "",
    frames_per_second: float = 12.0,
    still: int | None = None,
    dots_per_inch: int = 110,
) -> Film:
    """Draw a film frame by frame. It plays once when the reader presses the button, and a slider steps through it.

    Arguments:
        draw: function (figure, k) that draws frame k = 0 ... num_frames - 1 on an empty figure. Fix all limits of axes and
            colours in it, or the picture will jump.
        num_frames: number of frames, 2 to 80; each weighs 5 to 20 kB.
        figsize: width and height, inches.
        alt: what the film shows, for readers who do not see it.
        caption: a sentence below the film; may hold simple HTML.
        frames_per_second: speed, 1 / s.
        still: frame that is shown first, and printed; the middle one when None.
        dots_per_inch: resolution.
    Raises:
        ValueError: if num_frames or still is out of range.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    if not 2 <= num_frames <= 80:
        raise ValueError(
            f"num_frames: expected 2 to 80, got {num_frames}; a film is one picture that holds all frames."
        )
    still = num_frames // 2 if still is None else still
    if not 0 <= still < num_frames:
        raise ValueError(
            f"still: expected a frame between 0 and {num_frames - 1}, got {still}; choose one of them."
        )
    frames = []
    for k in range(num_frames):
        figure = Figure(figsize=figsize, dpi=dots_per_inch)
        canvas = FigureCanvasAgg(figure)
        draw(figure, k)
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    width, height = frames[0].size
    columns = max(1, round((num_frames * height / width) ** 0.5))  # a sheet that is about square
    rows = -(-num_frames // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for k, frame in enumerate(frames):
        sheet.paste(frame, ((k % columns) * width, (k // columns) * height))
    sheet_bytes, still_bytes = io.BytesIO(), io.BytesIO()
    sheet.save(sheet_bytes, "WEBP", quality=82, method=4)
    frames[still].save(still_bytes, "PNG", optimize=True)
    values = {
        # The same film gets the same name, so that equal runs give equal pages.
        "NAME": "film-"
        + uuid.uuid5(uuid.NAMESPACE_OID, base64.b64encode(sheet_bytes.getvalue()).decode()).hex[:12],
        "SHEET": base64.b64encode(sheet_bytes.getvalue()).decode(),
        "ALT": html.escape(alt, quote=True),
        "CAPTION": caption,
        "WIDTH": width,
        "HEIGHT": height,
        "COLUMNS": columns,
        "ROWS": rows,
        "FRAMES": num_frames,
        "STILL": still,
        "LAST": num_frames - 1,
        "RATE": f"{frames_per_second:g}",
    }
    player = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        player = player.replace(f"@{name}@", str(value))
    return Film(player, still_bytes.getvalue())
