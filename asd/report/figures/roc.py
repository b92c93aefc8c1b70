"""ROC curves of a scorer."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd.metrics import PAUC_MAX_FPR, ClipScores, arithmetic_mean, auc, partial_auc, roc_curve
from asd.report.figures.panels import Groups, new_panels, short, style

LEGEND_ROWS = 8


def roc_figure(clips: ClipScores, scorer: str) -> Figure:
    """ROC curves of a scorer: a panel per machine type, a line per machine ID, the pAUC region shaded."""
    groups = clips.groups
    figure, panels = new_panels(len(groups))
    for axes, (machine_type, ids) in zip(panels, groups.items(), strict=True):
        _roc_panel(axes, machine_type, ids, clips, clips.scores[scorer])
    figure.suptitle(f"ROC of {scorer}, shaded: FPR of the pAUC", fontsize=12)
    figure.supxlabel("false positive rate", fontsize=10)
    figure.supylabel("true positive rate", fontsize=10)
    return figure


def _roc_panel(axes: Axes, machine_type: str, ids: Groups, clips: ClipScores, scores: np.ndarray) -> None:
    axes.axvspan(0.0, PAUC_MAX_FPR, color="#f2e6c9", zorder=0)
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=0.8, linestyle=":")
    known = {name: indices[clips.known[indices]] for name, indices in ids.items()}
    aucs, paucs = ({name: of(clips.label[o], scores[o]) for name, o in known.items()} for of in (auc, partial_auc))
    drawn = [name for name in known if not math.isnan(aucs[name])]
    # Distinct to the eye, without the pale end of the map.
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, max(len(drawn), 1)))
    for name, colour in zip(drawn, colours, strict=False):
        label = f"{short(name, 12)}  {100 * aucs[name]:.1f}"
        axes.plot(*roc_curve(clips.label[known[name]], scores[known[name]]), color=colour, linewidth=1.2, label=label)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    means = (100 * arithmetic_mean(own.values()) for own in (aucs, paucs))
    mean = "mean over IDs: AUC {:.1f}, pAUC {:.1f}".format(*means)
    style(axes, machine_type, mean if drawn else "no ID with both labels")
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        title = "ID  AUC" if len(handles) <= LEGEND_ROWS else f"ID  AUC, first {LEGEND_ROWS} of {len(handles)}"
        shown = (handles[:LEGEND_ROWS], labels[:LEGEND_ROWS])
        axes.legend(*shown, title=title, title_fontsize=7, fontsize=7, loc="lower right", frameon=True, framealpha=0.85)
