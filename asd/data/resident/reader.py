"""Batches from samples in the node's memory. Legend: n clips, T samples a row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asd.data.manifest import Manifest
from asd.data.reader import repeat_short
from asd.data.resident.held import Held


def _gather(samples: Tensor, begin: np.ndarray, rows: np.ndarray) -> None:
    """Fill rows (n, T) from sample `begin` (n,) on: one call, without the interpreter's lock that a training needs."""
    every_start = samples.unfold(0, rows.shape[1], 1)
    torch.index_select(every_start, 0, torch.from_numpy(begin), out=torch.from_numpy(rows))


class MemoryReader:
    """Copies clips of a held set, as `asd.data.reader.Reader` reads them from tars; thread-safe."""

    def __init__(self, manifest: Manifest, held: Held) -> None:
        self.bad: dict[int, str] = {}  # clip index → what went wrong when it was loaded
        self._frames, self._held, self._samples = manifest.frames, held, held.of_channels

    def read(
        self, clips: np.ndarray, starts: np.ndarray, rows: np.ndarray, reference: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill rows (n, T) int16 from sample `starts` of each clip; shorter clips are repeated to fill their row.

        reference (n, T) int16: to be filled with the second channel. Returns (frames before repeats (n,) int64,
        readable (n,) bool).
        """
        frames = np.minimum(self._frames[clips] - starts, rows.shape[1])
        begin = self._held.first(clips) + starts
        for samples, wanted in zip(self._samples, [rows] if reference is None else [rows, reference], strict=False):
            if (frames == wanted.shape[1]).all():
                _gather(samples, begin, wanted)
                continue
            for row, first, count in zip(wanted, begin.tolist(), frames.tolist(), strict=True):
                row[:count] = samples[first : first + count].numpy()
            repeat_short(wanted, frames)
        return frames, self._readable(clips)

    def _readable(self, clips: np.ndarray) -> np.ndarray:
        problems = self._held.problems
        if not problems:
            return np.ones(len(clips), dtype=bool)
        self.bad |= {clip: problems[clip] for clip in clips.tolist() if clip in problems}
        return ~np.isin(clips, list(problems))

    def close(self) -> None:
        """Nothing is open."""
