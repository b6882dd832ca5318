"""The picture that a link to this book shows elsewhere: drawn when the book is built, 1200 x 630 pixels.

The drawing is the idea of the book: one noisy loss curve with many valleys, and the mean of many such curves,
which has one. The curves are computed here; they illustrate, they are no result. Without a known address of
the site the link to the picture is relative. Most services then ignore it: set `html_baseurl`, and it becomes
a full address.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
from sphinx.application import Sphinx

NAME = "social-preview.png"
SIZE = (1200, 630)


def loss_curves(num_problems: int = 256, num_points: int = 600):
    """l_i(x) = x^2 / 2 + 0.7 sin(k_i x + f_i): x (M,) and losses (n, M), dimensionless."""
    generator = np.random.default_rng(0)
    x = np.linspace(-3, 3, num_points)
    frequency, phase = (
        generator.uniform(4, 9, (num_problems, 1)),
        generator.uniform(0, 2 * np.pi, (num_problems, 1)),
    )
    return x, 0.5 * x**2 + 0.7 * np.sin(frequency * x + phase)


def draw(path: Path, title: str, subtitle: str) -> None:
    """Write the picture; the same input gives the same file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    x, losses = loss_curves()
    words, lines = title.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 22:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    figure.text(
        0.055,
        0.62,
        "\n".join(lines),
        fontsize=46,
        family="serif",
        color="#12303f",
        va="center",
        linespacing=1.2,
    )
    figure.text(0.055, 0.22, subtitle, fontsize=20, color="#46515c", va="center", linespacing=1.4)
    axis = figure.add_axes((0.58, 0.12, 0.38, 0.76))
    for one in losses[:12]:
        axis.plot(x, one, color="#9aa5af", linewidth=1.2, alpha=0.7)
    axis.plot(x, losses[0], color="#d55e00", linewidth=3)
    axis.plot(x, losses.mean(axis=0), color="#0072b2", linewidth=5)
    axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def make_picture(app: Sphinx) -> None:
    if app.builder.format == "html":
        draw(
            Path(app.outdir) / "_static" / NAME,
            app.config.html_title,
            "one network, many problems,\neverything computed anew",
        )


def name_picture(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Tell other sites the title, the text and the picture of a page."""
    base = app.config.html_baseurl
    place = f"_static/{NAME}"
    address = urljoin(base.rstrip("/") + "/", place) if base else context["pathto"](place, 1)
    title = context.get("title") or app.config.html_title
    tags = {
        "og:type": "article",
        "og:title": _plain(title),
        "og:site_name": _plain(app.config.html_title),
        "og:image": address,
        "og:image:width": SIZE[0],
        "og:image:height": SIZE[1],
        "og:image:alt": "Loss curves with many valleys, and their mean, which has one.",
    }
    lines = [f'<meta property="{name}" content="{value}" />' for name, value in tags.items()]
    lines.append('<meta name="twitter:card" content="summary_large_image" />')
    context["metatags"] = context.get("metatags", "") + "\n".join(["", *lines])


def _plain(title: str) -> str:
    return html.escape(html.unescape(re.sub(r"<[^>]+>", "", title)), quote=True)


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", lambda application, error: None if error else make_picture(application))
    app.connect("html-page-context", name_picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
