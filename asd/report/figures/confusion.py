"""Confusion matrix of the machines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from asd.report.figures.panels import new_figure, short

COUNTED_CLASSES = 60  # more, and the figures in the cells can no longer be read
SIDE_IN = (4.2, 16.0)  # least and most inches of the matrix; 0.27 a class in between


def confusion_figure(true: np.ndarray, predicted: np.ndarray, classes: Sequence[tuple[str, str]], clips: str) -> Figure:
    """Confusion matrix of the classes (machine type, machine ID), rows true, columns predicted, types set apart.

    true, predicted: (N,) class indices of the clips. clips: which ones these are, for the title.
    """
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    side = float(np.clip(0.27 * len(classes), *SIDE_IN))
    figure = new_figure(side + 1.3, side + 1.5)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The root of the share: an error in twenty is still seen.
    axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0.0, 1.0), aspect="equal")
    if len(classes) <= COUNTED_CLASSES:
        size = 6.5 if len(classes) > 15 else 9.0
        for row, column in np.argwhere(counts).tolist():
            dark = share[row, column] > 0.4
            colours = ("white", "black") if row == column else ("#ffd5c8", "#cc3311")
            colour = colours[0 if dark else 1]
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=size, color=colour)
    _name(axes, classes)
    right = f"{np.trace(counts)} of {len(true)} right" if len(true) else "no clips"
    figure.supxlabel("predicted", fontsize=10)
    figure.supylabel("true", fontsize=10)
    figure.suptitle(f"Confusion of machines: {clips}, {right}", fontsize=12)
    return figure


def _name(axes: Axes, classes: Sequence[tuple[str, str]]) -> None:
    """IDs at the ticks, machine types outside of them, a line between types."""
    ids = [short(machine_id, 10) for _, machine_id in classes]
    places = range(len(classes))
    size = 7 if len(classes) > 15 else 9
    axes.set_xticks(places, ids, rotation=90, fontsize=size)
    axes.set_yticks(places, ids, fontsize=size)
    axes.tick_params(length=2)
    middles, names, begin = [], [], 0
    for machine_type, own in groupby(classes, key=lambda pair: pair[0]):
        end = begin + len(list(own))
        middles.append((begin + end - 1) / 2)
        names.append(short(machine_type, 13))
        if begin:
            axes.axhline(begin - 0.5, color="#555555", linewidth=0.8)
            axes.axvline(begin - 0.5, color="#555555", linewidth=0.8)
        begin = end
    pad = 0.65 * size * max(map(len, ids), default=0) + 8.0  # points: beyond the longest ID
    outer, below = axes.secondary_yaxis("left"), axes.secondary_xaxis("bottom")
    outer.set_yticks(middles, names, rotation=90, va="center", fontsize=9)
    below.set_xticks(middles, names, fontsize=9)
    for extra in (outer, below):
        extra.tick_params(length=0, pad=pad)
        extra.spines[:].set_visible(False)
