"""The picture of docs/results.md: AUC of every config, each seed a dot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd.report.figures.panels import new_figure, style
from benchmarks.results.page import FAMILIES, LEVEL, PRIMARY, REFERENCE, members

COLOURS = {PRIMARY: "#0b5c8c", "centroid": "#e07b00", "knn": "#2a9d5c"}
GREY = {"untrained_knn": "#c4c4c4", LEVEL: "#777777"}


def draw(scores: Mapping[str, Any]) -> Figure:
    """One panel a family; dots are seeds, ticks their mean, grey lines the untrained nearest neighbours."""
    rows = {family: [row.name for row in members(family) if row.name in scores] for family in FAMILIES}
    figure = new_figure(8.6, 1.4 + 0.42 * sum(map(len, rows.values())))
    panels = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [max(1, len(r)) for r in rows.values()]})
    for axes, (family, names) in zip(panels, rows.items(), strict=True):
        _panel(axes, scores, names, REFERENCE[family])
        style(axes, family, "")
    panels[-1].set_xlabel("AUC (%) on the synthetic factory, mean over IDs, then machine types", fontsize=9)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure


def _panel(axes: Axes, scores: Mapping[str, Any], names: list[str], reference: str) -> None:
    for name, colour in GREY.items():
        axes.axvline(100 * scores[reference][name]["auc"], color=colour, linewidth=2, label=name.replace("_", " "))
    for place, name in enumerate(reversed(names)):
        for shift, (scorer, colour) in zip((0.22, 0.0, -0.22), COLOURS.items(), strict=True):
            values = [100 * value for value in scores[name][scorer]["auc_by_seed"]]
            label = scorer if place == 0 else None
            axes.scatter(
                values, [place + shift] * len(values), s=14, color=colour, alpha=0.6, linewidths=0, label=label
            )
            axes.plot(100 * scores[name][scorer]["auc"], place + shift, "|", color=colour, markersize=11, mew=2)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", alpha=0.3)
