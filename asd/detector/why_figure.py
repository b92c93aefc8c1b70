"""A recording and the closest normal one side by side, with what is odd marked."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from asd.detector.explain import Explanation
from asd.detector.picture import BANDS, band_edges

TICKS_HZ = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
MARK = "#cc3311"


def why_figure(found: Explanation, title: str) -> Figure:
    """The recording with its odd regions marked, and the closest normal recording beside it, in one scale."""
    figure = Figure(figsize=(11, 4.2), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    limits = tuple(np.percentile(np.concatenate([found.picture.numpy(), found.normal_picture.numpy()]), (1, 99.8)))
    shown = _spectrogram(left, found.picture, found, limits)
    _spectrogram(right, found.normal_picture, found, limits)
    left.set(title=title, ylabel="Hz", xlabel="seconds")
    right.set(title=f"closest normal: {found.nearest}", xlabel="share of its length", xticks=[])
    for region in found.regions:
        low, high = np.interp((region.low_hz, region.high_hz), _borders(found), np.arange(BANDS + 1))
        place, size = (region.begin_s, low), (region.end_s - region.begin_s, high - low)
        left.add_patch(Rectangle(place, *size, fill=False, ec=MARK, lw=0.8 + 2 * max(region.share, 0)))
    figure.colorbar(shown, ax=[left, right], label="dB", pad=0.01)
    return figure


def _spectrogram(axes: Axes, picture: Tensor, found: Explanation, limits: tuple[float, ...]) -> Any:
    extent = (found.begin_s, found.begin_s + found.seconds, 0, BANDS)
    ticks = [hz for hz in TICKS_HZ if hz < found.sample_rate / 2]
    axes.set_yticks(np.interp(ticks, _borders(found), np.arange(BANDS + 1)), [f"{hz}" for hz in ticks])
    return axes.imshow(
        picture.numpy(), origin="lower", aspect="auto", extent=extent, vmin=limits[0], vmax=limits[1], cmap="magma"
    )


def _borders(found: Explanation) -> np.ndarray:
    """(M + 1,) Hz between the bands of the pictures."""
    edges = band_edges(found.sample_rate)
    return (edges[1:] + edges[:-1]) / 2
