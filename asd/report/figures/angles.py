"""Angles between clips and their own class centre: the picture of Choi & Choi 2024 (Noisy-ArcMix, arXiv 2310.06364).

Legend: N clips, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd.metrics import ClipScores
from asd.report.figures.panels import LABELS, new_panels, style

BINS = (12, 60)  # fewest and most; about the root of the clips in between


def own_angles(logits: np.ndarray, class_index: np.ndarray, scale: float) -> np.ndarray:
    """(N,) degrees to the own class centre, the nearest of its sub-centres, from logits (N, C) = scale · cos θ."""
    own = logits[np.arange(len(logits)), class_index].astype(np.float64)
    return np.degrees(np.arccos(np.clip(own / scale, -1.0, 1.0)))


def angles_to(embedding: np.ndarray, centres: np.ndarray, class_index: np.ndarray) -> np.ndarray:
    """(N,) degrees between embeddings (N, D) and the own ones of the class centres (C, D), whatever their lengths."""
    unit, own = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (embedding, centres[class_index]))
    return np.degrees(np.arccos(np.clip((unit.astype(np.float64) * own).sum(1), -1.0, 1.0)))


def compared_angles(runs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """A panel for each run, on one common axis: the figure of Choi & Choi 2024, over all machine types together.

    runs: name → (labels (N,), degrees (N,)).
    """
    figure, panels = new_panels(len(runs))
    low, high = _whole_tens(np.concatenate([angles for _, angles in runs.values()]))
    for axes, (name, (label, angles)) in zip(panels, runs.items(), strict=True):
        _panel(axes, name, label, angles, low, high)
    _name_axes(figure)
    return figure


def angle_figure(clips: ClipScores, angles: np.ndarray) -> Figure:
    """Histograms of angles (N,) of normal and anomalous clips, a panel per machine type, on one common axis.

    What a loss is good for is seen here: normals packed near 0°, anomalies at larger angles.
    """
    groups = clips.groups
    figure, panels = new_panels(len(groups))
    low, high = _whole_tens(angles)
    for axes, (machine_type, ids) in zip(panels, groups.items(), strict=True):
        own = np.concatenate(list(ids.values()))
        _panel(axes, machine_type, clips.label[own], angles[own], low, high)
    _name_axes(figure)
    return figure


def _name_axes(figure: Figure) -> None:
    figure.suptitle("Angle to the own class centre", fontsize=12)
    figure.supxlabel("degrees", fontsize=10)
    figure.supylabel("share of the clips", fontsize=10)


def _whole_tens(angles: np.ndarray) -> tuple[float, float]:
    """The multiples of 10° around all angles."""
    if not angles.size:
        return 0.0, 90.0
    low = 10.0 * math.floor(float(angles.min()) / 10.0)
    return low, max(10.0 * math.ceil(float(angles.max()) / 10.0), low + 10.0)


def _panel(axes: Axes, machine_type: str, label: np.ndarray, angles: np.ndarray, low: float, high: float) -> None:
    edges = np.linspace(low, high, int(np.clip(math.sqrt(len(angles)), *BINS)) + 1)
    for value, name, colour in LABELS:
        own = angles[label == value]
        if own.size:
            share = np.histogram(own, edges)[0] / own.size
            shown = f"{name} ({own.size}), mean {own.mean():.1f}°"
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35, label=shown)
            axes.stairs(share, edges, color=colour)
            axes.axvline(float(own.mean()), color=colour, ymax=0.78, linewidth=0.9, linestyle="--")
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, 1.28 * axes.get_ylim()[1])  # room for the legend
    style(axes, machine_type, "")
    axes.legend(fontsize=7, frameon=False, loc="upper right")
