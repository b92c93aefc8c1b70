"""Test embeddings laid out in the plane. Legend: N clips, D embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asd.metrics import ClipScores
from asd.report.figures.panels import LABELS, new_figure, short

MAX_CLIPS = 2000  # t-SNE of as many takes about 6 s of one CPU; the picture says no more with more points
PERPLEXITY = 30.0
MIN_CLIPS = 5
LEGEND_ROWS = 16


def draw_clips(count: int, seed: int) -> np.ndarray:
    """At most MAX_CLIPS of count clips, ascending, the same for the same seed."""
    if count <= MAX_CLIPS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MAX_CLIPS, replace=False))


def layout(embedding: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE of unit-normalised embeddings (N, D), (N, 2): squared distances there are 2 − 2·cosine. One thread."""
    from sklearn.manifold import TSNE  # here: seconds to import, and evaluations during training draw no t-SNE
    from threadpoolctl import threadpool_limits

    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    spread = float(unit.std(axis=0).max())
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    # PCA divides by the spread: what has collapsed to a point starts from noise instead.
    init = "pca" if spread > 1e-6 and unit.shape[1] > 1 else "random"
    with threadpool_limits(1):
        return TSNE(perplexity=perplexity, init=init, random_state=seed, n_jobs=1).fit_transform(unit)


def tsne_figure(clips: ClipScores, embedding: np.ndarray, seed: int = 0) -> Figure:
    """t-SNE of test embeddings (N, D) in three panels, coloured by machine type, by machine ID and by label.

    At most MAX_CLIPS clips, drawn by the seed. Takes seconds.
    """
    figure = new_figure(15.0, 6.2)
    chosen = draw_clips(len(clips), seed)
    panels = figure.subplots(1, 3)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    of_all = f"{len(chosen)} clips" if len(chosen) == len(clips) else f"{len(chosen)} of {len(clips)} clips"
    figure.suptitle(f"t-SNE of the test embeddings, {of_all}", fontsize=12)
    if len(chosen) < MIN_CLIPS:
        panels[0].set_title("too few clips", fontsize=10)
        return figure
    points = layout(embedding[chosen], seed)
    types, ids = ([column[i] for i in chosen] for column in (clips.machine_type, clips.machine_id))
    _scatter(panels[0], "machine type", points, types, _colours(sorted(set(types))))
    _scatter(panels[1], "machine ID, within its type", points, ids, _colours(sorted(set(ids))))
    names = {value: name for value, name, _ in LABELS}
    labels = [names[value] for value in clips.label[chosen].tolist()]
    _scatter(panels[2], "label", points, labels, {name: colour for _, name, colour in LABELS})
    return figure


def _colours(names: Sequence[str]) -> dict[str, Any]:
    """Distinct colours up to ten names, a ramp beyond."""
    if len(names) <= 10:
        return dict(zip(names, matplotlib.colormaps["tab10"].colors, strict=False))  # type: ignore[attr-defined]
    return dict(zip(names, matplotlib.colormaps["turbo"](np.linspace(0.03, 0.97, len(names))), strict=True))


def _scatter(axes: Axes, title: str, points: np.ndarray, names: Sequence[str], colours: dict[str, Any]) -> None:
    # One call, clips in their random order: no colour lies on top of all others.
    axes.scatter(points[:, 0], points[:, 1], s=7, c=[colours[name] for name in names], alpha=0.75, linewidths=0)
    labels = [name for name in colours if name in set(names)]
    handles = [Line2D([], [], linestyle="", marker="o", markersize=6, color=colours[name]) for name in labels]
    labels = [short(name, 14) for name in labels]
    axes.set_title(title, fontsize=10)
    shown = (handles[:LEGEND_ROWS], labels[:LEGEND_ROWS])
    more = f"first {LEGEND_ROWS} of {len(handles)}" if len(handles) > LEGEND_ROWS else None
    axes.legend(
        *shown, title=more, title_fontsize=7, fontsize=8, ncols=4, frameon=False,
        loc="upper center", bbox_to_anchor=(0.5, -0.01), handletextpad=0.2, columnspacing=1.0,
    )  # fmt: skip
