"""Bytes of a source → windows of one channel or of two, in memory that does not grow. Legend: T samples of a window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asd.audio.recording import Channel
from asd.audio.windows import Window


class Ring:
    """The last samples that came, as windows of `length` every `hop`."""

    def __init__(self, length: int, hop: int, rate: int, channels: int, channel: Channel) -> None:
        """channel: of several, the one to hear, their average, or the near and the reference microphone."""
        self._length, self._hop, self._rate = length, hop, rate
        self._channels, self._channel = channels, channel
        self._samples = np.zeros((length, 2) if isinstance(channel, tuple) else length, np.int16)
        self._held = 0  # of these
        self._skip = 0  # samples until the next window begins, where windows have gaps between them
        self.heard = 0  # samples of a channel, since the beginning

    def push(self, piece: bytes) -> Iterator[Window]:
        """Windows that these whole frames fill, each with its own samples (T,) int16, of two microphones (T, 2)."""
        samples = self._heard(np.frombuffer(piece, "<i2").reshape(-1, self._channels))
        while len(samples):
            if self._skip:
                passed = min(self._skip, len(samples))
                self._skip, self.heard, samples = self._skip - passed, self.heard + passed, samples[passed:]
                continue
            some = samples[: self._length - self._held]
            self._samples[self._held : self._held + len(some)] = some
            self._held += len(some)
            self.heard += len(some)
            samples = samples[len(some) :]
            if self._held == self._length:
                yield Window((self.heard - self._length) / self._rate, self._samples.copy())
                kept = max(self._length - self._hop, 0)
                self._samples[:kept] = self._samples[self._length - kept :]
                self._held, self._skip = kept, max(self._hop - self._length, 0)

    def clear(self) -> None:
        """Sound before and after a gap is not one window."""
        self._held, self._skip = 0, 0

    def _heard(self, samples: np.ndarray) -> np.ndarray:
        if isinstance(self._channel, tuple):
            return samples[:, list(self._channel)]
        if self._channels == 1:
            return samples[:, 0]
        if self._channel == "average":
            return np.rint(samples.mean(axis=1)).astype(np.int16)
        assert isinstance(self._channel, int)
        return samples[:, self._channel]
