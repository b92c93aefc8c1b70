"""The scorers of an evaluation side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd.dcase.headline import columns_of, counts_ids
from asd.report.figures.panels import new_figure, short, style
from asd.report.model import Report

BASELINE_COLOURS = ("#b5b5b5", "#8a8a8a", "#d8d8d8")
SCORER_COLOURS = ("#0b5c8c", "#e07b00", "#2a9d5c", "#8e4ec6", "#c43c5e", "#5b6b00", "#00a3a3")


def comparison_figure(report: Report) -> Figure:
    """The year's numbers of every scorer by machine type, and their mean: bars from chance, baselines grey, first."""
    names = sorted(report.scorers, key=lambda name: name not in report.baselines)
    found = {name: report.headline(report.layout, name) for name in names}
    types = list(found[names[0]].types) if names else []
    titles = list(columns_of(report.layout).of_type.values())
    width = min(20.0, max(6.5, 1.5 + 0.32 * len(names) * (len(types) + 1)))
    figure = new_figure(width, 3.2 * len(titles))
    for at, (axes, title) in enumerate(zip(figure.subplots(len(titles), 1, sharex=True), titles, strict=True)):
        rows = {name: [*own.types.values(), next(iter(own.means.values()))] for name, own in found.items()}
        heights = {name: 100 * np.array([row[at] for row in own], dtype=np.float64) for name, own in rows.items()}
        _bars(axes, heights, report.baselines, f"{title} (%), 50 is chance")
    mean = "mean" if counts_ids(report.layout) else "harmonic\nmean"
    axes.set_xticks(range(len(types) + 1), [*(short(t) for t in types), mean], **slant(types))
    columns = max(1, min(len(names), int(width / 2.2)))
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=9)
    return figure


def slant(types: list[str]) -> dict[str, Any]:
    return {"rotation": 30, "ha": "right"} if len(types) > 7 or any(len(t) > 13 for t in types) else {}


def _bars(axes: Axes, heights: Mapping[str, np.ndarray], baselines: list[str], unit: str) -> None:
    """heights: scorer → percent of every type, then of the year's mean; nan where there is none."""
    width = 0.82 / max(1, len(heights))
    grey, bright = cycle(BASELINE_COLOURS), cycle(SCORER_COLOURS)
    for place, (name, own) in enumerate(heights.items()):
        x = np.arange(len(own)) + (place - (len(heights) - 1) / 2) * width
        colour = next(grey if name in baselines else bright)
        axes.bar(x, own - 50.0, width * 0.92, bottom=50.0, color=colour, label=name.replace("_", " "))
        for at, height in zip(x, own, strict=True):
            if math.isfinite(height):
                offset, side = (2, "bottom") if height >= 50.0 else (-2, "top")
                text: dict[str, Any] = {"ha": "center", "va": side, "rotation": 90, "fontsize": 6.5}
                axes.annotate(f"{height:.1f}", (at, height), (0, offset), textcoords="offset points", **text)
    if heights:
        _frame_bars(axes, np.stack([*heights.values()]))
    axes.set_ylabel(unit, fontsize=10)
    style(axes, "", "")


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
