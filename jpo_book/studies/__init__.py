"""Studies: results that are computed once, stored with a manifest, and found again.

from jpo_book import studies
cells = studies.plan("wave_packet", "laptop")
classical, joint = studies.combine(cells, studies.load_or_run(cells))
"""

import importlib

# Where each public name lives. Loaded on first use, as those of `jpo_lib`.
_HOMES = {
    **dict.fromkeys(["Cell", "source_hash"], "jpo_book.studies.cell"),
    **dict.fromkeys(["combine", "combine_variants"], "jpo_book.studies.combining"),
    **dict.fromkeys(["STUDIES", "load_profile", "plan", "profiles"], "jpo_book.studies.planning"),
    **dict.fromkeys(["adopt", "check", "load_or_run", "run_cell"], "jpo_book.studies.store"),
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'jpo_book.studies' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
