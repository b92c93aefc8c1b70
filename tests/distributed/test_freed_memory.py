"""Freed memory is kept between steps, and given back when told to."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

KEPT_AND_RETURNED = """
import psutil
import torch
from asd.distributed.cpu import keep_freed_memory, return_freed_memory

def mebibytes():
    return psutil.Process().memory_info().rss >> 20

keep_freed_memory()
before, maps = mebibytes(), [torch.ones(16, 1 << 20) for _ in range(8)]
del maps
kept = mebibytes()
return_freed_memory()
print(kept - before, mebibytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="these are settings of glibc")
def test_freed_memory_is_kept_until_it_is_returned() -> None:
    """512 MiB of it."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KEPT_AND_RETURNED], cwd=root, capture_output=True, text=True, check=True
    )
    kept, left = map(int, done.stdout.split())
    assert kept > 500
    assert left < 100
