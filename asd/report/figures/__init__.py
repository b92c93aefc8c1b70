"""Figures of an evaluation. Each builder returns a plain `matplotlib.figure.Figure`; a machine type without labels has
a panel that says so."""

from asd.report.figures.angles import angle_figure, angles_to, compared_angles, own_angles
from asd.report.figures.comparison import comparison_figure
from asd.report.figures.confusion import confusion_figure
from asd.report.figures.evaluation import Figures, evaluation_figures
from asd.report.figures.histogram import histogram_figure
from asd.report.figures.roc import roc_figure
from asd.report.figures.tsne import draw_clips, tsne_figure

__all__ = [
    "Figures",
    "angle_figure",
    "angles_to",
    "compared_angles",
    "comparison_figure",
    "confusion_figure",
    "draw_clips",
    "evaluation_figures",
    "histogram_figure",
    "own_angles",
    "roc_figure",
    "tsne_figure",
]
