"""What the recordings of a set were before packing, and what became of them: a detector is to hear new ones so, too."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import pydantic

MAX_VALUES = 64  # of rates and numbers of channels that are remembered
SHORTER = 0.99  # of the shortest: a sample or two are no difference

Rate = Annotated[int, pydantic.Field(gt=0, le=1_000_000)]
Index = Annotated[int, pydantic.Field(ge=0)]
Count = Annotated[int, pydantic.Field(gt=0, le=1 << 16)]
Seconds = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


class Heard(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Of all clips of a set."""

    # taken of several, two where there is a reference microphone; None: all had one
    channel: Index | tuple[Index, Index] | Literal["average"] | None
    channels: Annotated[tuple[Count, ...], pydantic.Field(min_length=1, max_length=MAX_VALUES)]  # ascending
    rates: Annotated[tuple[Rate, ...], pydantic.Field(min_length=1, max_length=MAX_VALUES)]  # Hz, ascending
    clips_s: tuple[Seconds, Seconds]  # length of the shortest clip, and of the longest
    cut: bool  # clips are pieces of longer recordings

    def channel_in_words(self) -> str:
        """`channel 0 of 2`, `channels 0 (near) and 1 (reference) of 2`, `mean of 8 channels`, `one channel`."""
        if self.channels == (1,):
            return "one channel"
        of = _listed(self.channels)
        if isinstance(self.channel, tuple):
            return f"channels {self.channel[0]} (near) and {self.channel[1]} (reference) of {of}"
        return f"mean of {of} channels" if self.channel == "average" else f"channel {self.channel} of {of}"

    def widened(self, rates: Collection[int], seconds: Collection[float]) -> Heard:
        """With recordings of these rates and lengths among its own, such as those of a calibration."""
        lengths = (*self.clips_s, *seconds)
        update = {"rates": tuple(sorted({*self.rates, *rates})[:MAX_VALUES]), "clips_s": (min(lengths), max(lengths))}
        return self.model_copy(update=update)

    def unlike(self, rate: int, channels: int, seconds: float) -> list[str]:
        """How a new recording differs from all of the set."""
        found = []
        if rate not in self.rates:
            found.append(f"at {rate} Hz, trained on {_listed(self.rates)} Hz")
        if channels not in self.channels:
            found.append(f"of {channels} channel{'s' * (channels > 1)}, trained on {self.channel_in_words()}")
        if seconds < SHORTER * self.clips_s[0]:
            found.append(f"shorter than any clip of the set ({self.clips_s[0]:g} s)")
        return found


def _listed(numbers: tuple[int, ...]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last
