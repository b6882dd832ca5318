"""Keep the site complete in itself: MathJax is served by the site, out of an installed package."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PACKAGE = "sphinx-mathjax-offline"
# All TeX packages in one script, so that nothing is fetched later, and the fonts that it asks for.
PARTS = ("tex-chtml-full.js", "output/chtml/fonts/woff-v2")


def mathjax_folder() -> Path:
    """The folder of MathJax inside the installed package."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == PARTS[0]:
            return Path(file.locate()).parent
    raise ExtensionError(
        f"Expected the Python package {PACKAGE}, which brings MathJax, got none; install the book's "
        f"requirements with `make env`."
    )


def copy_mathjax(app: Sphinx) -> None:
    """Copy MathJax into the site before the pages are written, so that its address gets a checksum."""
    if app.builder.format != "html":
        return
    source, target = mathjax_folder(), Path(app.outdir) / "_static" / "mathjax"
    for part in PARTS:
        files = [source / part] if (source / part).is_file() else sorted((source / part).iterdir())
        for file in files:
            copy = target / file.relative_to(source)
            if not copy.is_file() or copy.stat().st_size != file.stat().st_size:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def setup(app: Sphinx) -> dict:
    # Jupyter Book always sets this value; the extension that reads it is left out, see _config.yml.
    app.add_config_value("comments_config", {}, "")
    app.connect("config-inited", lambda _, config: setattr(config, "mathjax_path", f"mathjax/{PARTS[0]}"))
    app.connect("builder-inited", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
