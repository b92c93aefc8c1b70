"""The picture of docs/results.md: AUC of every config, each seed a dot."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd.metrics import AUC
from asd.report.figures.panels import new_figure, style
from asd.sweep.numbers import Table
from benchmarks.results.page import FAMILIES, LEVEL, PRIMARY, REFERENCE, members

COLOURS = {PRIMARY: "#0b5c8c", "centroid": "#e07b00", "knn": "#2a9d5c"}
GREY = {"untrained_knn": "#c4c4c4", LEVEL: "#777777"}


def draw(scores: Table) -> Figure:
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


def _panel(axes: Axes, scores: Table, names: list[str], reference: str) -> None:
    for name, colour in GREY.items():
        mean = scores[reference][name].numbers[AUC.key].mean
        axes.axvline(100 * mean, color=colour, linewidth=2, label=name.replace("_", " "))
    for place, name in enumerate(reversed(names)):
        for shift, (scorer, colour) in zip((0.22, 0.0, -0.22), COLOURS.items(), strict=True):
            own, label = scores[name][scorer].numbers[AUC.key], scorer if place == 0 else None
            values, heights = [100 * value for value in own.by_seed], [place + shift] * len(own.by_seed)
            axes.scatter(values, heights, s=14, color=colour, alpha=0.6, linewidths=0, label=label)
            axes.plot(100 * own.mean, place + shift, "|", color=colour, markersize=11, mew=2)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", alpha=0.3)
