"""Sound that a detector's other formats are checked on where the run that it comes from is not at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from asd.audio.header import BadFileError
from asd.audio.recording import Channel, Target
from asd.audio.windows import Cut, open_recording
from asd.data.manifest import LABEL_ANOMALY
from asd.detector import DetectorFile
from asd.detector.formats.base import Clip, Clips
from asd.detector.imitation import imitation
from asd.detector.recordings import Asked
from asd.errors import UserError

PER_MACHINE = 20  # normal recordings that a file is checked on
QUANTISED_BY = 10  # of these


def clips_of_normals(file: DetectorFile, source: Path) -> Clips:
    """Noise with the levels of each normal recording that the detector keeps: it keeps pictures of them, no samples.

    The reference microphone, of which it keeps nothing, hears other noise at half of that level.

    UserError where a machine has none.
    """
    if missing := next((str(own) for index, own in enumerate(file.classes) if index not in file.normals), None):
        raise UserError(f"{source} keeps no normal recordings of {missing} to check on: name others by --check-on")
    kept = [file.normals[own] for own in range(len(file.classes))]
    length = round(file.clip_s * file.sample_rate)

    def clips(most: int) -> Iterator[Clip]:
        for own, normals in enumerate(kept):
            for number in range(min(most, len(normals.names))):
                random = np.random.default_rng([own, number])
                picture = normals.picture(number)
                sound = imitation(picture, file.sample_rate, length, random)
                if file.reference_weight is not None:
                    sound = np.stack([sound, imitation(picture, file.sample_rate, length, random) // 2], axis=1)
                yield Clip(own, False, sound[None])

    words = "imitations of the normal recordings that it keeps"
    return Clips(words, lambda: clips(PER_MACHINE), lambda: clips(QUANTISED_BY))


def clips_of_recordings(file: DetectorFile, asked: Sequence[Asked], channel: Channel) -> Clips:
    """Windows of recordings, side by side; UserError that names one that cannot be read."""
    length, target = round(file.clip_s * file.sample_rate), Target(file.sample_rate, channel)
    cut = Cut(length, length, length, file.fixed_length)
    for one in asked:  # a header that cannot be read is told before any work
        with _named(one):
            open_recording(one.path, target)

    def clip(one: Asked) -> Clip:
        with _named(one):
            windows = [window.samples for window in open_recording(one.path, target).windows(cut)]
        whole = [samples for samples in windows if len(samples) == length]
        channels = () if file.reference_weight is None else (2,)
        return Clip(one.own, one.label == LABEL_ANOMALY, np.array(whole, np.int16).reshape(-1, length, *channels))

    def normal() -> Iterator[Clip]:
        own = sorted((one for one in asked if one.label != LABEL_ANOMALY), key=lambda one: one.own)
        for _, its in groupby(own, key=lambda one: one.own):
            yield from map(clip, islice(its, QUANTISED_BY))

    return Clips("recordings", lambda: map(clip, asked), normal)


@contextmanager
def _named(one: Asked) -> Iterator[None]:
    """UserError that names a recording that cannot be read."""
    try:
        yield
    except BadFileError as error:
        raise UserError(f"{one.path}: {error.detail}") from None
