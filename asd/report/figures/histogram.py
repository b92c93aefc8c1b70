"""Score histograms of a scorer."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd.metrics import ClipScores
from asd.report.figures.panels import LABELS, Groups, new_panels, style

HISTOGRAM_BINS = (10, 40)  # fewest and most; about the root of the clips in between
HISTOGRAM_RANGE = (-4.0, 10.0)  # standard deviations of an ID's normal clips


def histogram_figure(clips: ClipScores, scorer: str) -> Figure:
    """Score histograms of normal and anomalous clips, a panel per machine type.

    Scores are shifted and scaled per machine ID (its normals: mean 0, deviation 1), so that the IDs of a panel can
    share an axis; a scorer that spans decades, as 1 - p does, is shown by its logarithm. Ends collect what lies beyond.
    """
    scores, unit = _readable(clips.scores[scorer])
    groups = clips.groups
    figure, panels = new_panels(len(groups))
    for axes, (machine_type, ids) in zip(panels, groups.items(), strict=True):
        _histogram_panel(axes, machine_type, ids, clips.label, scores)
    figure.suptitle(f"Scores of {scorer}", fontsize=12)
    figure.supxlabel(f"{unit}, in standard deviations of the ID's normal clips", fontsize=10)
    figure.supylabel("share of the clips", fontsize=10)
    return figure


def _readable(scores: np.ndarray) -> tuple[np.ndarray, str]:
    """The scores, or their logarithm where they are positive and span decades; and what to call them."""
    if not scores.size or scores.min() < 0.0 or np.quantile(scores, 0.95) <= 30 * np.median(scores):
        return scores, "score"
    positive = scores[scores > 0.0]
    return np.log10(np.maximum(scores, positive.min())), "log10 of the score"


def _histogram_panel(axes: Axes, machine_type: str, ids: Groups, label: np.ndarray, scores: np.ndarray) -> None:
    z = np.concatenate([_z(scores[own], label[own]) for own in ids.values()])
    label = label[np.concatenate(list(ids.values()))]
    bins = int(np.clip(math.sqrt(len(z)), *HISTOGRAM_BINS))
    low, high = max(HISTOGRAM_RANGE[0], np.quantile(z, 0.001)), min(HISTOGRAM_RANGE[1], np.quantile(z, 0.99))
    low, high = (low, high) if high - low > 1e-6 else (low - 1.0, low + 1.0)
    edges = np.linspace(low, high, bins + 1)
    for value, name, colour in LABELS:
        own = np.clip(z[label == value], edges[0], edges[-1])
        if own.size:
            share = np.histogram(own, edges)[0] / own.size
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35, label=f"{name} ({own.size})")
            axes.stairs(share, edges, color=colour)
    axes.set_ylim(bottom=0.0)
    style(axes, machine_type, "")
    axes.legend(fontsize=7, frameon=False, loc="upper right")


def _z(scores: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Scores of one ID in standard deviations from the mean of its normal clips, of all where no normal is known."""
    reference = scores[label == 0] if np.any(label == 0) else scores
    deviation = float(reference.std())
    return (scores - reference.mean()) / (deviation if deviation > 0.0 else 1.0)
