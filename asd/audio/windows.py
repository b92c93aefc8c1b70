"""Windows of recordings of any length; long recordings are never held in memory as a whole.

Legend: T samples.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asd.audio.header import Header, read_header
from asd.audio.levels import FAULTS
from asd.audio.recording import Conversion, Part, Target, check_channels, check_rate, read_pcm16


@dataclass(frozen=True, slots=True)
class Cut:
    """Recordings of up to `longest` samples are heard whole, longer ones in windows of `length`, `hop` apart.

    only: the network takes exactly `length`. Of recordings that would be heard whole it hears the beginning, and
    those that are shorter are repeated, as in evaluation with `evaluate.first_s`.
    """

    length: int
    hop: int
    longest: int
    only: bool = False

    def begins(self, samples: int) -> Sequence[int] | None:
        """First samples of the windows of a recording, the last of which ends with it; None: it is heard whole."""
        if samples <= self.longest:
            return None
        last = samples - self.length
        return [*range(0, last, self.hop), last]


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a recording, (T,) or of two channels (T, 2) int16 at the wanted rate; where it begins, in seconds."""

    begin_s: float
    samples: np.ndarray
    repeated_from: int | None = None  # the sample from which a recording that is shorter than the window comes again
    faults: frozenset[str] = frozenset()  # of the levels (asd.audio.levels), at the rate of the recording

    @property
    def near(self) -> np.ndarray:
        """(T,), of two channels the near microphone's."""
        return self.samples if self.samples.ndim == 1 else self.samples[:, 0]

    @property
    def once(self) -> np.ndarray:
        """Of these what the microphones heard, without repetition."""
        return self.samples[: self.repeated_from]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that can be opened, and what it is to become."""

    path: Path
    header: Header
    target: Target
    done: Conversion = field(default_factory=Conversion)  # counted as windows are read

    @property
    def samples(self) -> int:
        """At the wanted rate."""
        return self.target.frames(self.header)

    @property
    def seconds(self) -> float:
        return self.header.frames / self.header.rate

    def windows(self, cut: Cut) -> Iterator[Window]:
        """Its windows in order. Raises BadFileError where the samples are not what the header says."""
        begins = cut.begins(self.samples)
        if begins is None:
            samples, faults = self._read(Part(0, self.header.frames))
            if not cut.only:
                yield Window(0.0, samples, faults=faults)
                return
            length = min(len(samples), cut.length)
            repeated = np.resize(samples[:length], (cut.length, *samples.shape[1:]))
            yield Window(0.0, repeated, repeated_from=length, faults=faults)
            return
        for begin in begins:
            samples, faults = self._read(self._part(begin, cut.length))
            yield Window(begin / self.target.sample_rate, samples[: cut.length], faults=faults)

    def remarks(self, without: Collection[str] = ()) -> list[str]:
        """What had to be done to the samples that were read so far; without: level faults that are told elsewhere."""
        found = []
        if self.header.lie:
            found.append("wrong size in the header, read to the end")
        if self.header.unread:
            found.append(f"not read: {self.header.unread}")
        if self.done.resampled:
            found.append(f"resampled from {self.header.rate} Hz")
        if self.done.channels_averaged:
            found.append(f"mean of {self.header.channels} channels")
        if self.done.clipped_samples:
            found.append(f"{self.done.clipped_samples} samples clipped")
        found += [f"windows that {FAULTS[fault]}" for fault in sorted(self.done.faults.keys() - without)]
        return found

    def _read(self, part: Part) -> tuple[np.ndarray, frozenset[str]]:
        samples, done = read_pcm16(self.path, self.header, self.target, part)
        self.done.add(done)
        return samples, frozenset(done.faults)

    def _part(self, begin: int, length: int) -> Part:
        """Samples at the recording's own rate that give `length` or one more at the wanted one."""
        rate, wanted = self.header.rate, self.target.sample_rate
        frames = -(-length * rate // wanted)
        return Part(min(begin * rate // wanted, self.header.frames - frames), frames)


def open_recording(path: Path, target: Target) -> Recording:
    """Raises BadFileError where it is none, has not the channel that is wanted, or a rate that cannot be."""
    header = read_header(path)
    check_channels(header, target)
    check_rate(header, target)
    return Recording(path, header, target)
