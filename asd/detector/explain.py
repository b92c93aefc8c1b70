"""Why a recording has its score: the bands and the moments without which it would sound like a normal recording.

A band is taken back to normal in the samples themselves, so that every frontend, network and scorer is explained in one
way (occlusion: Zeiler and Fergus 2014; here by the machine's own normal sound in the place of nothing): in each band
the levels over time are mapped to those of the nearest normal recording that the detector keeps, the loudest moment to
the loudest one and so on. How far the score falls is the band's share.

Legend: M bands, W columns of a picture, T samples, K bins and F frames of a short-time spectrum, n windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, interpolate, pad

from asd.detector.normals import Normals
from asd.detector.picture import BANDS, COLUMNS, band_edges, in_decibels, picture_of

Score = Callable[[np.ndarray], np.ndarray]  # windows (n, T) int16 → scores (n,)

WINDOW_S = 0.032  # of the short-time spectra in which bands are turned up and down
GROUP = 2  # neighbouring bands that are tried together
MOST_DB = 40.0  # by which a band is turned up or down
MOST_REGIONS = 4  # that are told apart; the rest is one
WEAK = 0.1  # of the strongest region's peak, below which there is no further one
EDGE = 0.5  # of a region's strongest band, down to which its neighbours belong to it; of a moment's strongest, too
SMOOTH = 9  # columns over which levels are smoothed before a moment is looked for: 7 % of the time


@dataclass(frozen=True)
class Region:
    """Neighbouring bands, what they add to the score, and when."""

    low_hz: float
    high_hz: float
    share: float  # of the excess, 0 to 1
    level_db: float  # above the normal recording, at that time
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Explanation:
    """Of a window of T samples. The excess is that of the score over what it would be with every band as in the normal
    recording; the shares of regions and rest add up to 1."""

    score: float
    as_normal: float
    regions: tuple[Region, ...]  # largest share first; none where the score is not above `as_normal`
    rest: float
    nearest: str  # name of the normal recording
    picture: Tensor  # (M, W) in decibels
    normal_picture: Tensor
    sample_rate: int
    begin_s: float  # of the window in the recording
    seconds: float  # of the window


def explain(samples: np.ndarray, sample_rate: int, score: Score, normals: Normals, begin_s: float = 0.0) -> Explanation:
    """samples: (T,) int16 of one window. score: of windows of this machine. begin_s: of the window in a recording."""
    shown = in_decibels(*_flat(picture_of(samples, sample_rate)))
    nearest = nearest_normal(shown, normals)
    normal = normals.picture(nearest)
    gains = normal_levels(shown, normal) - shown
    whole, as_normal, regions, shares = shared(score, Equaliser(samples, sample_rate, gains), gains)
    edges, seconds = band_edges(sample_rate), len(samples) / sample_rate
    told = [_region(mask, share, gains, edges, begin_s, seconds) for mask, share in zip(regions, shares, strict=True)]
    return Explanation(
        score=whole,
        as_normal=as_normal,
        regions=tuple(sorted(told, key=lambda region: -region.share)),
        rest=1 - sum(shares),
        nearest=normals.names[nearest],
        picture=shown,
        normal_picture=normal,
        sample_rate=sample_rate,
        begin_s=begin_s,
        seconds=seconds,
    )


def shared(score: Score, heard: Equaliser, gains: Tensor) -> tuple[float, float, list[Tensor], list[float]]:
    """The score, that with all bands as in the normal recording, masks (M,) of the regions that matter most, and the
    share of the difference that each takes away, one after the other."""
    groups = torch.eye(BANDS // GROUP).repeat_interleave(GROUP, 1).bool()
    ends = torch.stack([torch.zeros(BANDS), torch.ones(BANDS)]).bool()
    whole, as_normal, *without = map(float, score(heard(torch.cat([ends, groups]))))
    if not whole > as_normal:
        return whole, as_normal, [], []
    found = strongest(whole - np.array(without))
    regions = [trimmed(region.repeat_interleave(GROUP), gains) for region in found]
    if not regions:
        return whole, as_normal, [], []
    falling = score(heard(torch.stack([torch.stack(regions[: count + 1]).any(0) for count in range(len(regions))])))
    return whole, as_normal, regions, (-np.diff([whole, *falling]) / (whole - as_normal)).tolist()


def _region(mask: Tensor, share: float, gains: Tensor, edges: np.ndarray, begin_s: float, seconds: float) -> Region:
    begin, end, level = moment(-gains[mask].mean(0))
    bands = mask.nonzero().flatten().tolist()
    low, high = (float(edges[band] + edges[band + 1]) / 2 for band in (bands[0], bands[-1] + 1))
    return Region(low, high, share, level, begin_s + begin * seconds, begin_s + end * seconds)


def trimmed(region: Tensor, gains: Tensor) -> Tensor:
    """A region (M,) without those bands at its ends that are much nearer to normal than its farthest."""
    level = gains.abs().mean(1) * region
    bands = (level >= EDGE * level.max()).nonzero().flatten()
    mask = torch.zeros_like(region)
    mask[int(bands[0]) : int(bands[-1]) + 1] = True
    return mask


def _flat(found: tuple[Tensor, tuple[float, float]]) -> tuple[Tensor, float, float]:
    picture, (low, high) = found
    return picture, low, high


def nearest_normal(shown: Tensor, normals: Normals) -> int:
    """The kept recording whose bands have the nearest mean levels, in decibels; a band that is far away counts no more
    than by its distance."""
    levels = torch.stack([normals.picture(clip).mean(1) for clip in range(len(normals.names))])
    return int((levels - shown.mean(1)).abs().mean(1).argmin())


def normal_levels(shown: Tensor, normal: Tensor) -> Tensor:
    """(M, W): in each band the levels of the normal recording, in the order in time of those that are shown."""
    rank = shown.argsort(1).argsort(1)
    return normal.sort(1).values.gather(1, rank)


class Equaliser:
    """Turns bands of one recording up and down, moment by moment."""

    def __init__(self, samples: np.ndarray, sample_rate: int, gains: Tensor) -> None:
        """gains: (M, W) in decibels, at most `MOST_DB` of them."""
        n_fft, self._samples = 2 ** round(np.log2(WINDOW_S * sample_rate)), torch.from_numpy(samples.astype(np.float32))
        settings: dict[str, Any] = {"n_fft": n_fft, "hop_length": n_fft // 2, "window": torch.hann_window(n_fft)}
        spectrum = torch.stft(self._samples, **settings, return_complex=True)
        over_time = interpolate(gains.clamp(-MOST_DB, MOST_DB)[None], spectrum.shape[1], mode="linear")[0]
        change = 10.0 ** (over_time / 20.0) - 1.0
        of_band = _weights(sample_rate, spectrum.shape[0])
        parts = [spectrum * of_band[:, band, None] * change[band] for band in range(BANDS)]
        self._changes = torch.stack([torch.istft(part, **settings, length=len(samples)) for part in parts])

    def __call__(self, masks: Tensor) -> np.ndarray:
        """(n, T) int16, each with its bands of (n, M) changed."""
        changed = self._samples + masks.float() @ self._changes
        return changed.round().clamp(-32768, 32767).to(torch.int16).numpy()


def _weights(sample_rate: int, bins: int) -> Tensor:
    """(K, M): how much of each bin belongs to each band; a row adds up to 1."""
    edges = band_edges(sample_rate)
    hertz = np.linspace(0, sample_rate / 2, bins).clip(edges[1], edges[-2])
    centres = np.arange(BANDS)
    place = np.interp(hertz, edges[1:-1], centres)
    return torch.from_numpy(np.maximum(0, 1 - np.abs(place[:, None] - centres))).float()


def strongest(influence: np.ndarray) -> list[Tensor]:
    """Masks (n,) of regions of neighbouring ones of n influences, strongest first: around each peak those down to half
    of it."""
    left, found = influence.copy(), list[Tensor]()
    while len(found) < MOST_REGIONS and left.max() > WEAK * influence.max() > 0:
        low, high = around_peak(left)
        found.append((torch.arange(len(left)) >= low) & (torch.arange(len(left)) <= high))
        left[low : high + 1] = -np.inf
    return found


def moment(level: Tensor) -> tuple[float, float, float]:
    """Of levels (W,) above normal: where the part of the time begins and ends that is farthest from normal, 0 to 1, and
    the mean level there."""
    padded = pad(level.abs()[None], (SMOOTH // 2, SMOOTH // 2), mode="replicate")
    low, high = around_peak(avg_pool1d(padded, SMOOTH, 1)[0].numpy())
    return low / COLUMNS, (high + 1) / COLUMNS, float(level[low : high + 1].mean())


def around_peak(values: np.ndarray) -> tuple[int, int]:
    """First and last place around the largest of values (n,) that is not below `EDGE` of it."""
    peak = int(values.argmax())
    below = np.flatnonzero(~(values >= EDGE * values[peak]))
    return int(below[below < peak].max(initial=-1)) + 1, int(below[below > peak].min(initial=len(values))) - 1
