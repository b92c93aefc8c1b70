"""Panels of all figures: plain `matplotlib.figure.Figure` objects on the Agg canvas.

No pyplot, no global state, safe in a thread and without a display.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

LABELS = ((-1, "unlabelled", "#999999"), (0, "normal", "#4477aa"), (1, "anomaly", "#cc3311"))
Groups = Mapping[str, np.ndarray]


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with one panel each, in rows of at most four; one empty panel where there is nothing to show."""
    columns = {0: 1, 4: 2}.get(count, min(count, 4 if count in (7, 8) or count > 9 else 3))
    rows = max(1, math.ceil(count / columns))
    figure = new_figure(max(4.8, 3.3 * columns + 0.4), 3.0 * rows + 0.6)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]


def style(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(f"{short(title)}\n{subtitle}" if subtitle else short(title), fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def short(name: str, length: int = 22) -> str:
    """A name as it is drawn: `$` begins no formula, `_` hides nothing from a legend, a missing glyph is a number."""
    name = "".join(sign if _is_drawn(sign) else sign.encode("unicode_escape").decode("ascii") for sign in name)
    name = name if len(name) <= length else name[: length - 1] + "…"
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


@cache
def _is_drawn(sign: str) -> bool:
    return sign.isprintable() and get_font(findfont("DejaVu Sans")).get_char_index(ord(sign)) != 0
