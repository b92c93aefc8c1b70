"""Figures of an evaluation: ROC curves, score histograms, and the scorers side by side.

Plain `matplotlib.figure.Figure` objects on the Agg canvas: no pyplot, no global state, safe in a thread and without a
display. A machine type without labels has a panel that says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asd.metrics import PAUC_MAX_FPR, ClipScores, arithmetic_mean, auc, partial_auc, roc_curve

LABELS = ((-1, "unlabelled", "#999999"), (0, "normal", "#4477aa"), (1, "anomaly", "#cc3311"))
BASELINE_COLOURS = ("#b5b5b5", "#8a8a8a", "#d8d8d8")
SCORER_COLOURS = ("#0b5c8c", "#e07b00", "#2a9d5c", "#8e4ec6", "#c43c5e", "#5b6b00", "#00a3a3")
HISTOGRAM_BINS = (10, 40)  # fewest and most; about the root of the clips in between
HISTOGRAM_RANGE = (-4.0, 10.0)  # standard deviations of an ID's normal clips
LEGEND_ROWS = 8
Groups = Mapping[str, np.ndarray]


def roc_figure(clips: ClipScores, scorer: str) -> Figure:
    """ROC curves of a scorer: a panel per machine type, a line per machine ID, the pAUC region shaded."""
    groups = clips.groups()
    figure, panels = _panels(len(groups))
    for axes, (machine_type, ids) in zip(panels, groups.items(), strict=True):
        _roc_panel(axes, machine_type, ids, clips, clips.scores[scorer])
    figure.suptitle(f"ROC of {scorer}, shaded: FPR of the pAUC", fontsize=12)
    figure.supxlabel("false positive rate", fontsize=10)
    figure.supylabel("true positive rate", fontsize=10)
    return figure


def histogram_figure(clips: ClipScores, scorer: str) -> Figure:
    """Score histograms of normal and anomalous clips, a panel per machine type.

    Scores are shifted and scaled per machine ID (its normals: mean 0, deviation 1), so that the IDs of a panel can
    share an axis; a scorer that spans decades, as 1 - p does, is shown by its logarithm. Ends collect what lies beyond.
    """
    scores, unit = _readable(clips.scores[scorer])
    groups = clips.groups()
    figure, panels = _panels(len(groups))
    for axes, (machine_type, ids) in zip(panels, groups.items(), strict=True):
        _histogram_panel(axes, machine_type, ids, clips.label, scores)
    figure.suptitle(f"Scores of {scorer}", fontsize=12)
    figure.supxlabel(f"{unit}, in standard deviations of the ID's normal clips", fontsize=10)
    figure.supylabel("share of the clips", fontsize=10)
    return figure


def comparison_figure(report: Mapping[str, Any]) -> Figure:
    """AUC and pAUC of every scorer for each machine type and their mean: bars from chance, baselines grey, first."""
    names = sorted(report["scorers"], key=lambda name: name not in report["baselines"])
    types = list(report["scorers"][names[0]]["types"]) if names else []
    width = min(20.0, max(6.5, 1.5 + 0.32 * len(names) * (len(types) + 1)))
    figure = _figure(width, 6.4)
    for axes, key, unit in zip(figure.subplots(2, 1, sharex=True), ("auc", "pauc"), ("AUC", "pAUC"), strict=True):
        _bars(axes, report, names, key, f"{unit} (%), 50 is chance")
    axes.set_xticks(range(len(types) + 1), [*(_short(t) for t in types), "mean"], **_slant(types))
    columns = max(1, min(len(names), int(width / 2.2)))
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=9)
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with one panel each, in rows of at most four; one empty panel where there is nothing to show."""
    columns = {0: 1, 4: 2}.get(count, min(count, 4 if count in (7, 8) or count > 9 else 3))
    rows = max(1, math.ceil(count / columns))
    figure = _figure(max(4.8, 3.3 * columns + 0.4), 3.0 * rows + 0.6)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]


def _style(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(f"{_short(title)}\n{subtitle}" if subtitle else _short(title), fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _short(name: str, length: int = 22) -> str:
    name = name.replace("$", r"\$")  # else matplotlib reads mathematics
    return name if len(name) <= length else name[: length - 1] + "…"


def _slant(types: list[str]) -> dict[str, Any]:
    return {"rotation": 30, "ha": "right"} if len(types) > 7 or any(len(t) > 13 for t in types) else {}


# ---- ROC ----------------------------------------------------------------------------------------------------------


def _roc_panel(axes: Axes, machine_type: str, ids: Groups, clips: ClipScores, scores: np.ndarray) -> None:
    axes.axvspan(0.0, PAUC_MAX_FPR, color="#f2e6c9", zorder=0)
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=0.8, linestyle=":")
    known = {name: indices[clips.known[indices]] for name, indices in ids.items()}
    aucs = {name: auc(clips.label[own], scores[own]) for name, own in known.items()}
    paucs = [partial_auc(clips.label[own], scores[own]) for own in known.values()]
    drawn = [name for name in known if not math.isnan(aucs[name])]
    for name, colour in zip(drawn, _ramp(len(drawn)), strict=True):
        label = f"{_short(name, 12)}  {100 * aucs[name]:.1f}"
        axes.plot(*roc_curve(clips.label[known[name]], scores[known[name]]), color=colour, linewidth=1.2, label=label)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    mean = f"AUC {100 * arithmetic_mean(aucs.values()):.1f}, pAUC {100 * arithmetic_mean(paucs):.1f}"
    _style(axes, machine_type, mean if drawn else "no ID with both labels")
    _id_legend(axes)


def _ramp(count: int) -> np.ndarray:
    """Colours (count, 4), distinct to the eye, without the pale end of the map."""
    return matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, max(count, 1)))[:count]


def _id_legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        title = "ID  AUC" if len(handles) <= LEGEND_ROWS else f"ID  AUC, first {LEGEND_ROWS} of {len(handles)}"
        shown = (handles[:LEGEND_ROWS], labels[:LEGEND_ROWS])
        axes.legend(*shown, title=title, title_fontsize=7, fontsize=7, loc="lower right", frameon=True, framealpha=0.85)


# ---- histograms ---------------------------------------------------------------------------------------------------


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
    edges = np.linspace(*_range(z), bins + 1)
    for value, name, colour in LABELS:
        own = np.clip(z[label == value], edges[0], edges[-1])
        if own.size:
            share = np.histogram(own, edges)[0] / own.size
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35, label=f"{name} ({own.size})")
            axes.stairs(share, edges, color=colour)
    axes.set_ylim(bottom=0.0)
    _style(axes, machine_type, "")
    axes.legend(fontsize=7, frameon=False, loc="upper right")


def _z(scores: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Scores of one ID in standard deviations from the mean of its normal clips, of all where no normal is known."""
    reference = scores[label == 0] if np.any(label == 0) else scores
    deviation = float(reference.std())
    return (scores - reference.mean()) / (deviation if deviation > 0.0 else 1.0)


def _range(z: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(z, 0.001), np.quantile(z, 0.99)
    low, high = max(HISTOGRAM_RANGE[0], low), min(HISTOGRAM_RANGE[1], high)
    return (low, high) if high - low > 1e-6 else (low - 1.0, low + 1.0)


# ---- bars ---------------------------------------------------------------------------------------------------------


def _bars(axes: Axes, report: Mapping[str, Any], names: list[str], key: str, unit: str) -> None:
    width = 0.82 / max(1, len(names))
    colours = _bar_colours(names, report["baselines"])
    heights = [_heights(report["scorers"][name], key) for name in names]
    for place, (name, own) in enumerate(zip(names, heights, strict=True)):
        x = np.arange(len(own)) + (place - (len(names) - 1) / 2) * width
        axes.bar(x, own - 50.0, width * 0.92, bottom=50.0, color=colours[name], label=name.replace("_", " "))
        _write_values(axes, x, own)
    if heights:
        _frame_bars(axes, np.stack(heights))
    axes.set_ylabel(unit, fontsize=10)
    _style(axes, "", "")


def _frame_bars(axes: Axes, heights: np.ndarray) -> None:
    """Limits, the line of chance, the mean set apart, and a word where no scorer has a bar; heights (scorers, bars)."""
    for empty in np.flatnonzero(np.isnan(heights).all(axis=0)).tolist():
        axes.text(empty, 52.0, "not scored", ha="center", va="bottom", rotation=90, fontsize=8, color="#777777")
    lowest = float(heights[heights < 50.0].min(initial=50.0))
    bottom = lowest - 7.0 if lowest < 50.0 else 50.0
    axes.set_ylim(bottom, 108.0)  # room for the figures at the ends of the bars
    axes.set_yticks(range(10 * math.ceil(bottom / 10), 101, 10))
    axes.axhline(50.0, color="#444444", linewidth=0.8)
    axes.axvline(heights.shape[1] - 1.5, color="#aaaaaa", linewidth=0.8, linestyle=":")
    axes.set_xlim(-0.6, heights.shape[1] - 0.4)


def _heights(scorer: Mapping[str, Any], key: str) -> np.ndarray:
    """Percent of every type, then of the mean; nan where there is none."""
    values = [*(numbers[f"{key}_mean"] for numbers in scorer["types"].values()), scorer["mean"][key]]
    return np.array([math.nan if value is None else 100 * value for value in values])


def _bar_colours(names: list[str], baselines: list[str]) -> dict[str, str]:
    grey = [name for name in names if name in baselines]
    trained = [name for name in names if name not in baselines]
    colours = {name: BASELINE_COLOURS[i % len(BASELINE_COLOURS)] for i, name in enumerate(grey)}
    return colours | {name: SCORER_COLOURS[i % len(SCORER_COLOURS)] for i, name in enumerate(trained)}


def _write_values(axes: Axes, x: np.ndarray, heights: np.ndarray) -> None:
    for place, height in zip(x, heights, strict=True):
        if math.isfinite(height):
            up = height >= 50.0
            axes.annotate(
                f"{height:.1f}",
                (place, height),
                (0, 2 if up else -2),
                textcoords="offset points",
                ha="center",
                va="bottom" if up else "top",
                rotation=90,
                fontsize=6.5,
            )
