"""The compilation cache heals after a kill."""

import os
import time

from jpo_lib import compilation_cache


def test_half_written_entries_are_removed_and_no_others(tmp_path):
    old = time.time() - 1000
    for name in ("whole-cache", "whole-atime", "torn-cache"):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (old, old))
    (tmp_path / "young-cache").write_bytes(b"x")
    assert compilation_cache.remove_unfinished(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["whole-atime", "whole-cache", "young-cache"]
    assert compilation_cache.remove_unfinished(tmp_path / "not there") == 0
