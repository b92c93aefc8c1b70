"""Draw the learning rate of configs over their epochs: python -m benchmarks.plot_schedule configs/X.yaml --out X.png"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asd.config import load_config
from asd.errors import UserError, run_main
from asd.files import user_path
from asd.optim import lr_at


def schedule_figure(paths: Sequence[Path]) -> Figure:
    """One line per config; they are told apart by name."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for path in paths:
        config = load_config(path)
        if config.train.epochs is None:
            raise UserError(f"{path} counts steps, not epochs: set train.epochs to draw its schedule")
        epochs = np.linspace(0, config.train.epochs, 2000, endpoint=False)
        axes.plot(epochs, [lr_at(config.optim, epoch, config.train.epochs) for epoch in epochs], label=path.stem)
    axes.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", type=user_path, nargs="+")
    parser.add_argument("--out", type=user_path, required=True)
    args = parser.parse_args(argv)
    schedule_figure(args.configs).savefig(args.out, dpi=110)
    print(args.out)


if __name__ == "__main__":
    run_main(main)
