"""A set that is opened through the cache: what tests do with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from traceback import walk_stack

import numpy as np
import pytest

from asd.data.cache import cached_set
from asd.data.manifest import Manifest, load_manifest
from asd.data.reader import Reader
from asd.files.download import NotFetchedError

TAR = "train-000001.tar"


def tars(manifest: Manifest) -> cached_set.CachedTars:
    assert isinstance(manifest.tars, cached_set.CachedTars)
    return manifest.tars


def read_all(manifest: Manifest, seconds: float = 1.0) -> tuple[np.ndarray, np.ndarray, Reader]:
    """Samples (clips, T) of all clips, whether each was readable, and the reader."""
    clips = np.arange(len(manifest))
    rows = np.zeros((len(clips), round(seconds * manifest.sample_rate)), dtype=np.int16)
    reader = Reader(manifest)
    _, valid = reader.read(clips, np.zeros_like(clips), rows)
    reader.close()
    return rows, valid, reader


def same_as(local: Path, manifest: Manifest) -> bool:
    expected, found = read_all(load_manifest(local)), read_all(manifest)
    return bool(found[1].all()) and np.array_equal(expected[0], found[0])


def number_of(manifest: Manifest, name: str = TAR) -> int:
    return [shard.file for shard in manifest.file.shards].index(name)


def fetch(manifest: Manifest, name: str = TAR) -> Path:
    """One tar, through the same door as readers; where it lies."""
    os.close(tars(manifest).open(number_of(manifest, name)))
    return manifest.root / name


def calls_under_way(function: str) -> int:
    """How many threads are in a function of that name just now."""
    tops = [*sys._current_frames().values()]
    return sum(any(frame.f_code.co_name == function for frame, _ in walk_stack(top)) for top in tops)


def failure(manifest: Manifest, name: str = TAR) -> str:
    with pytest.raises(NotFetchedError) as caught:
        fetch(manifest, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)
