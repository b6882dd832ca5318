"""Write the first code cell of every notebook, which installs the library where it is missing, as on Colab.

The book hides the cell, and where the library is installed it does nothing. The address comes from
`repository: url:` in _config.yml. Run this after a change of that setting; a test compares.
"""

import json
import tomllib
from pathlib import Path

import yaml

from jpo_book.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
CELL_ID = "install-where-missing"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

START = """\
# Elsewhere than in a clone, for example on Colab, the library is not there yet. Written by workflow/launch_cell.py.
from importlib.util import find_spec

if find_spec("jpo_lib") is None:
"""  # noqa: E501 (lines of a notebook)
INSTALL = """\
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", {requirements}], check=True)
"""
REFUSE = """\
    raise ModuleNotFoundError("Expected the library jpo_lib, got none: run `make env` in a clone, and open the notebook with its Python.")
"""  # noqa: E501


def launch_cell(address, branch):
    """The cell as JSON; without a known address it says what to do."""
    library = f"{PROJECT['name']}[notebooks] @ git+{address.rstrip('/')}@{branch}"
    source = START + (INSTALL.format(requirements=json.dumps(library)) if address else REFUSE)
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": CELL_ID,
        "metadata": {"tags": ["remove-cell"]},
        "outputs": [],
        "source": source.rstrip("\n").splitlines(keepends=True),
    }


def with_launch_cell(text, repository):
    """The notebook as text, with the cell before its first code cell and nowhere else;
    repository: that part of _config.yml."""
    notebook = json.loads(text)
    notebook["cells"] = [cell for cell in notebook["cells"] if cell.get("id") != CELL_ID]
    first = next(k for k, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code")
    notebook["cells"].insert(
        first, launch_cell(repository.get("url") or "", repository.get("branch") or "main")
    )
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def repository_setting():
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8")).get("repository") or {}


def main():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        old = path.read_text(encoding="utf-8")
        new = with_launch_cell(old, repository_setting())
        if new != old:
            write_atomically(path, new)
            print(f"notebook  {path.stem}: wrote the first code cell")


if __name__ == "__main__":
    main()
