"""What the tars hold, read without any of our code: tarfile and soundfile only."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile


def sounds_of(root: Path) -> dict[str, np.ndarray]:
    """Samples (frames,) int16 of every clip by its key."""
    sounds = {}
    for path in sorted(root.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.rpartition(".")
                if extension in ("wav", "flac"):
                    handle = tar.extractfile(member)
                    assert handle is not None
                    sounds[key], _ = soundfile.read(io.BytesIO(handle.read()), dtype="int16")
    return sounds


def row_of(sound: np.ndarray, start: int, length: int) -> np.ndarray:
    """A crop of length samples, repeated from its start where the clip ends before."""
    cut = sound[start : start + length]
    return np.tile(cut, -(-length // len(cut)))[:length]


def open_files() -> int:
    """How many files this process has open. Not sockets and pipes: a server of an earlier test ends when it likes."""
    return sum(path.is_file() for path in Path("/proc/self/fd").iterdir())
