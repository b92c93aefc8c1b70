"""All figures of one evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from asd.metrics import ClipScores
from asd.report.figures.angles import angle_figure, own_angles
from asd.report.figures.comparison import comparison_figure
from asd.report.figures.confusion import confusion_figure
from asd.report.figures.flattened import flattened
from asd.report.figures.histogram import histogram_figure
from asd.report.figures.roc import roc_figure
from asd.report.figures.tsne import tsne_figure
from asd.report.model import Report
from asd.scorers import EmbeddingTable

Figures = dict[str, Figure]


def evaluation_figures(
    clips: ClipScores,
    report: Report,
    classes: Sequence[tuple[str, str]],
    validation: EmbeddingTable,
    test: EmbeddingTable,
    logit_scale: float | None,
    tsne: bool,
) -> Figures:
    """File name → figure, drawn and flat. clips and test are the same clips; classes: (machine type, machine ID) of
    every class.

    Angles are drawn where logit_scale says that logits are cosines, t-SNE (seconds) where it is asked for.
    """
    primary = report.primary
    normals = test.select(torch.from_numpy(clips.label == 0))
    found = {
        "roc": roc_figure(clips, primary),
        "scores": histogram_figure(clips, primary),
        "comparison": comparison_figure(report),
    }
    if test.logits.shape[1]:
        found["confusion_validation"] = _confusion(validation, classes, "held-out training clips")
        found["confusion_test"] = _confusion(normals, classes, "normal test clips")
    if logit_scale is not None:
        angles = own_angles(test.logits.numpy(), test.class_index.numpy(), logit_scale)
        found["angles"] = angle_figure(clips, angles)
    if tsne:
        found["tsne"] = tsne_figure(clips, test.embedding.numpy())
    return {name: flattened(figure) for name, figure in found.items()}


def _confusion(own: EmbeddingTable, classes: Sequence[tuple[str, str]], clips: str) -> Figure:
    return confusion_figure(own.class_index.numpy(), own.logits.argmax(1).numpy(), classes, clips)
