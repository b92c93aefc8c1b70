"""Whether the room, the microphone or the load has changed since the normal recordings, rather than a part broken.

Legend: n normal clips, w windows, M bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asd.detector.normals import Normals

FEWEST = 5  # windows, and normal clips, from which there is something to say
ALIKE = 0.8  # of the windows
BROAD = 0.5  # of the bands: a fault has a few, a room, a gain or a load most of them
BEYOND = 1.0  # times the largest distance of a normal clip from the others


@dataclass(frozen=True)
class Drift:
    """How windows lie against normal clips, by their mean spectra."""

    shift_db: float  # of the median spectrum of the windows, root mean square over the bands
    normal_db: float  # the same of a normal clip against the median of the others, of the farthest one
    alike: float  # share of the windows that are shifted the same way, by half as much or more
    bands: int  # that are shifted by more than a normal clip is in them
    of_bands: int

    @property
    def has_changed(self) -> bool:
        """Whether nearly all windows are shifted alike, in most bands, by more than normal clips differ."""
        is_far = self.shift_db > BEYOND * self.normal_db
        return is_far and self.alike >= ALIKE and self.bands >= BROAD * self.of_bands

    def in_words(self) -> str:
        return (
            f"{self.alike:.0%} of the windows are shifted alike, by {self.shift_db:.1f} dB and in {self.bands} of "
            f"{self.of_bands} bands, where normal recordings differ by {self.normal_db:.1f} dB at most: the room, the "
            "microphone or the load has changed, or a fault is in all of them; if the machine is sound, make normal "
            "recordings and run `python eval.py calibrate`"
        )


class Room:
    """What normal clips sound like on the mean."""

    def __init__(self, normals: Normals) -> None:
        """Of few clips nothing is known, and nothing is said."""
        features = normals.columns["features"].numpy().astype(np.float64)
        _, place = np.unique(normals.columns["clip_index"].numpy(), return_index=True)
        self._clips = features[place]
        self._centre = np.median(self._clips, axis=0)
        deviation = self._clips - self._left_out()
        self._farthest = float(np.sqrt((deviation**2).mean(axis=1)).max(initial=0.0))
        self._by_band = np.abs(deviation).max(axis=0, initial=0.0)

    def _left_out(self) -> np.ndarray:
        """(n, M): of each clip the median of all others."""
        others = ~np.eye(len(self._clips), dtype=bool)
        if len(self._clips) < 2:
            return self._clips
        return np.stack([np.median(self._clips[mask], axis=0) for mask in others])

    def drift(self, spectra: np.ndarray) -> Drift | None:
        """Of windows (w, M), in decibels; None where they, or the normal clips, are too few."""
        if len(spectra) < FEWEST or len(self._clips) < FEWEST:
            return None
        each = spectra.astype(np.float64) - self._centre
        shift = np.median(each, axis=0)
        size = float((shift**2).sum())
        along = each @ shift / size if size > 0 else np.zeros(len(each))
        return Drift(
            shift_db=float(np.sqrt((shift**2).mean())),
            normal_db=self._farthest,
            alike=float(np.mean(along >= 0.5)),
            bands=int(np.sum(np.abs(shift) > self._by_band)),
            of_bands=len(shift),
        )
