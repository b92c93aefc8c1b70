"""A figure drawn once, to be shown in many places."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def flattened(figure: Figure) -> Figure:
    """The same picture, pixel for pixel, as a figure that holds nothing but that picture.

    Drawing a figure of hundreds of texts takes a third of a second, and each place that shows it, a PNG file or
    TensorBoard, draws it anew, the PNG file twice. This one takes a hundredth of that.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    flat = Figure(figsize=tuple(figure.get_size_inches()), dpi=figure.dpi)
    FigureCanvasAgg(flat)
    flat.figimage(np.asarray(canvas.buffer_rgba()).copy())
    return flat
