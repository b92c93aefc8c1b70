"""Score over time of a long recording, over all recordings, and what is odd in one, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asd.detector.judge import ClipResult
from asd.detector.why_figure import why_figure
from asd.files.atomic import whole

NORMAL, ANOMALY = "#4477aa", "#cc3311"
OVERVIEW = "overview"
MAX_NAMES = 40  # of recordings that can be told apart below an axis


def draw(folder: Path, results: Sequence[ClipResult], what: str, window_s: float) -> list[Path]:
    """overview.png of all recordings in order, a picture of each that was heard in windows, and one of each that is
    explained. what: of the scores."""
    folder.mkdir(parents=True, exist_ok=True)
    heard = [result for result in results if result.scores and result.error is None]
    taken, drawn = {OVERVIEW}, []
    if heard:
        drawn.append(_saved(overview_figure(heard, what), folder / f"{OVERVIEW}.png"))
    for result in heard:
        name = _free(result, taken)
        if len(result.scores) > 1:
            drawn.append(_saved(timeline_figure(result, what, window_s), folder / f"{name}.png"))
        if result.why is not None:
            drawn.append(_saved(why_figure(result.why, _shown(result.path.name)), folder / f"{name}_why.png"))
    return drawn


def timeline_figure(result: ClipResult, what: str, window_s: float) -> Figure:
    """A line from window to window, each at its middle, against the threshold."""
    figure, axes = _figure(10, 3.5)
    middles = np.array(result.begins_s) + window_s / 2
    axes.plot(middles, result.scores, color=NORMAL, lw=1, marker=".", ms=4)
    _mark_above(axes, middles, result)
    axes.set(xlabel="seconds", ylabel=what, title=_shown(result.path.name), xlim=(0, result.seconds))
    return figure


def overview_figure(heard: Sequence[ClipResult], what: str) -> Figure:
    """A point a recording, in the order of their names."""
    figure, axes = _figure(10, 4.5)
    places, scores = np.arange(len(heard)), np.array([result.score for result in heard], dtype=float)
    colours = [ANOMALY if result.decision == "anomaly" else NORMAL for result in heard]
    axes.scatter(places, scores, c=colours, s=16, zorder=2)
    if len({result.machine for result in heard}) == 1:
        _mark_threshold(axes, heard[0])
    else:
        _mark_thresholds(axes, heard)
    axes.set(ylabel=what, xlim=(-0.5, len(heard) - 0.5))
    if len(heard) <= MAX_NAMES:
        axes.set_xticks(places, [_shown(result.path.name, 30) for result in heard], rotation=90, fontsize=7)
    else:
        axes.set_xlabel(f"{len(heard)} recordings, in the order given")
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _mark_above(axes: Axes, middles: np.ndarray, result: ClipResult) -> None:
    _mark_threshold(axes, result)
    if result.threshold is not None:
        above = np.array(result.scores) > result.threshold
        axes.plot(middles[above], np.array(result.scores)[above], ".", color=ANOMALY, ms=6)


def _mark_threshold(axes: Axes, result: ClipResult) -> None:
    if result.threshold is not None:
        axes.axhline(result.threshold, color=ANOMALY, lw=1, ls="--", label="threshold")
        axes.legend(frameon=False, fontsize=8, loc="upper right")


def _mark_thresholds(axes: Axes, heard: Sequence[ClipResult]) -> None:
    """Each recording's own."""
    own = {place: result.threshold for place, result in enumerate(heard) if result.threshold is not None}
    if own:
        axes.scatter(list(own), list(own.values()), color=ANOMALY, marker="_", s=30, lw=1, label="threshold")
        axes.legend(frameon=False, fontsize=8, loc="upper right")


def _shown(name: str, most: int = 80) -> str:
    """A file name as matplotlib and its font can draw it: a $ would begin a formula."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in name).replace("$", r"\$")
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def _free(result: ClipResult, taken: set[str]) -> str:
    """A file name that no other picture of this call has."""
    stem, number = result.path.stem.encode(errors="replace")[:200].decode(errors="ignore"), 2
    name = stem
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    taken.add(name)
    return name


def _saved(figure: Figure, path: Path) -> Path:
    with whole(path) as file:
        figure.savefig(file, format="png")
    return path
