"""Short films of a motion: all frames in one picture, and a small player that starts only when asked."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from jpo_book.figures.page import Page, encoded, paint

TEMPLATE = Path(__file__).with_name("film.html")


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
) -> Page:
    """Draw a film frame by frame. It plays once when the reader presses the button,
    and a slider steps through it.

    Arguments:
        draw: function (figure, k) that draws frame k = 0 ... num_frames - 1 on an empty figure. Fix all
            limits of axes and colours in it, or the picture will jump.
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
    if not 2 <= num_frames <= 80:
        raise ValueError(f"num_frames: expected 2 to 80, got {num_frames}; one picture holds all frames.")
    still = num_frames // 2 if still is None else still
    if not 0 <= still < num_frames:
        raise ValueError(f"still: expected a frame between 0 and {num_frames - 1}, got {still}; choose one.")
    frames = [paint(functools.partial(draw, k=k), figsize, dots_per_inch) for k in range(num_frames)]
    width, height = frames[0].size
    columns = max(1, round((num_frames * height / width) ** 0.5))  # a sheet that is about square
    rows = -(-num_frames // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for k, frame in enumerate(frames):
        sheet.paste(frame, ((k % columns) * width, (k // columns) * height))
    picture = encoded(sheet, "WEBP", quality=82, method=4)
    # The same film gets the same name, so that equal runs give equal pages.
    name = f"film-{uuid.uuid5(uuid.NAMESPACE_OID, picture).hex[:12]}"
    numbers = {"FRAMES": num_frames, "LAST": num_frames - 1, "STILL": still, "RATE": f"{frames_per_second:g}"}
    numbers |= {"COLUMNS": columns, "ROWS": rows}
    return Page(TEMPLATE, frames[still], alt, NAME=name, SHEET=picture, CAPTION=caption, **numbers)
