"""Build the book's pages, strictly and from clean,
and put them at _build/html only when they are complete."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    started = time.monotonic()
    # Sphinx shows its warnings only for pages that it reads anew: a strict build must start from nothing.
    scratch = ROOT / "_build" / "render"
    shutil.rmtree(scratch, ignore_errors=True)
    start = "from jupyter_book.cli.main import main; main()"
    given = ["--config", "_config.yml", "-n", "-W", "--keep-going", "--quiet"]
    target = ["--path-output", str(scratch.relative_to(ROOT))]
    command = [sys.executable, "-c", start, "build", "book", *given, *target]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    new = scratch / "_build" / "html"
    if done.returncode or not (new / "index.html").is_file():
        sys.exit(
            done.stdout.strip() + "\nThe book has the errors above: correct them and run make book again."
        )
    (new / ".buildinfo").unlink(missing_ok=True)  # for building in steps; names hash over this clone's path
    place, old = ROOT / "_build" / "html", ROOT / "_build" / "html.old"
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        os.replace(place, old)
    os.replace(new, place)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)
    print(f"{'book      pages':<64} {time.monotonic() - started:7.1f} s", flush=True)


main()
