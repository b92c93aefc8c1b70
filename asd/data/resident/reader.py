"""Batches from samples in the node's memory. Legend: n clips, T samples a row."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from asd.data.loader import Loader
from asd.data.manifest import Manifest
from asd.data.reader import repeat_short
from asd.data.resident.held import Held
from asd.process.stop import StopSignal

AT_ONCE = 1 << 26  # samples, 128 MiB: what a thread copies by one call
AHEAD = 2  # of these calls


def memory_loader(
    manifest: Manifest, held: Held, device: torch.device, threads: int, stop: StopSignal | None = None
) -> Loader:
    """What gives batches of a set that is held in the node's memory."""
    return Loader(manifest, device, threads, AHEAD, stop, MemoryReader(manifest, held), AT_ONCE)


class MemoryReader:
    """Copies clips of a held set, as `asd.data.reader.Reader` reads them from tars; thread-safe."""

    def __init__(self, manifest: Manifest, held: Held) -> None:
        self.bad: dict[int, str] = {}  # clip index → what went wrong when it was loaded
        self._frames, self._held, self._samples = manifest.frames, held, held.of_channels.numpy()
        self._from_every_sample = cache(self._rows_from_every_sample)

    def read(
        self, clips: np.ndarray, starts: np.ndarray, rows: np.ndarray, reference: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill rows (n, T) int16 from sample `starts` of each clip; shorter clips are repeated to fill their row.

        reference (n, T) int16: to be filled with the second channel. Returns (frames before repeats (n,) int64,
        readable (n,) bool).
        """
        frames = np.minimum(self._frames[clips] - starts, rows.shape[1])
        begin = self._held.first(clips) + starts
        for channel, wanted in enumerate([rows] if reference is None else [rows, reference]):
            if (frames == wanted.shape[1]).all():  # one call, without the interpreter's lock that a training needs
                every = self._from_every_sample(wanted.shape[1])[channel]
                torch.index_select(every, 0, torch.from_numpy(begin), out=torch.from_numpy(wanted))
                continue
            for row, first, count in zip(wanted, begin.tolist(), frames.tolist(), strict=True):
                row[:count] = self._samples[channel, first : first + count]
            repeat_short(wanted, frames)
        return frames, self._readable(clips)

    def _rows_from_every_sample(self, length: int) -> tuple[Tensor, ...]:
        """Views (samples - T + 1, T) of each channel."""
        return self._held.of_channels.unfold(1, length, 1).unbind()

    def _readable(self, clips: np.ndarray) -> np.ndarray:
        problems = self._held.problems
        if not problems:
            return np.ones(len(clips), dtype=bool)
        self.bad |= {clip: problems[clip] for clip in clips.tolist() if clip in problems}
        return ~np.isin(clips, list(problems))

    def close(self) -> None:
        """Nothing is open."""
