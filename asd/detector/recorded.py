"""What is to be said of a recording beside its score, of clips and of calibrate alike: its state, and remarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asd.audio.header import BadFileError
from asd.audio.recording import Target
from asd.audio.windows import Cut, Recording, Window, open_recording
from asd.data.heard import Heard
from asd.detector.input import DEAF, MISSING, UNREADABLE, WRONG_RATE, state_of, worst


@dataclass
class Recorded:
    """A recording, whose windows are counted by their states as they are read."""

    recording: Recording
    heard: Heard | None  # how the detector's recordings were made; None: it does not say
    states: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, path: Path, target: Target, heard: Heard | None) -> Recorded:
        """Raises BadFileError as `open_recording` does, which then says which channels the detector heard."""
        try:
            return cls(open_recording(path, target), heard)
        except BadFileError as error:
            if error.kind != "channels" or heard is None or target.channel is not None:
                raise
            told = f"{error.detail}, trained on {heard.channel_in_words()}: name --channel N or --channel average"
            raise BadFileError(error.kind, told) from None

    def windows(self, cut: Cut) -> Iterator[tuple[Window, str]]:
        """Its windows in order, and the state of each. Raises BadFileError where one cannot be read."""
        for window in self.recording.windows(cut):
            state = state_of(window.once, window.faults)
            self.states[state] += 1
            yield window, state

    @property
    def state(self) -> str:
        """The worst one of its windows; of others, whether it has a rate that the detector knows."""
        header = self.recording.header
        is_other = self.heard is not None and header.rate not in self.heard.rates
        return worst([*self.states, *([WRONG_RATE] if is_other else [])])

    def remarks(self) -> list[str]:
        """What was done to its samples, and how it is unlike the detector's recordings."""
        header, seconds = self.recording.header, self.recording.seconds
        unlike = [] if self.heard is None else self.heard.unlike(header.rate, header.channels, seconds)
        return [*self.recording.remarks(without=DEAF), *unlike]


def state_of_unread(path: Path, error: BadFileError) -> str:
    """The state of a recording that could not be opened, or not be read to its end."""
    return MISSING if error.kind == "zero-length" or not path.exists() else UNREADABLE


def in_windows(states: Mapping[str, int]) -> list[str]:
    """How many of several windows are in each bad state."""
    count = sum(states.values())
    return [f"{states[state]} of {count} windows {state}" for state in DEAF if state in states and count > 1]


def counted(remarks: Collection[Collection[str]]) -> list[str]:
    """Remarks (of each recording) as lines: how many recordings each is of."""
    found = Counter(remark for its in remarks for remark in its)
    return [f"{count} of {len(remarks)} recordings: {remark}" for remark, count in found.items()]
