"""Clips with scores, and their report."""

import numpy as np
from rich.console import Console

from asd.metrics import ClipScores as Clips
from asd.report import (
    Choice,
    Header,
    Report,
    console_table,
)

HEADER = Header(
    run="runs/demo",
    step=120,
    epoch=6,
    checkpoint="step_00000120",
    selection=Choice(rule="clean", oracle=False),
    primary="knn",
    baselines=["untrained_knn"],
)


def clips(machine_types: tuple[str, ...] = ("fan", "valve")) -> Clips:
    """Two IDs a type with 10 normals and 10 anomalies, and one unlabelled clip of another ID."""
    random = np.random.default_rng(0)
    rows = [(t, i, label) for t in machine_types for i in ("00", "01") for label in [0] * 10 + [1] * 10]
    rows.append((machine_types[0], "02", -1))
    types, ids, labels = (list(column) for column in zip(*rows, strict=True))
    label = np.array(labels)
    scores = {
        "untrained_knn": random.normal(size=len(label)) + 0.5 * label,
        "softmax": random.random(len(label)) + 0.1 * label,
        "knn": random.normal(size=len(label)) + 2.0 * label,
    }
    keys = [f"clip{n}" for n in range(len(label))]
    return Clips(keys, [f"{key}.wav" for key in keys], types, ids, [""] * len(keys), label, scores)


def console_text(report: Report, width: int = 80) -> str:
    console = Console(width=width, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(console_table(report))
    return capture.get()


def halves(layout: str) -> Clips:
    """Development clips, whose names carry labels, and evaluation clips, on which the scorers stand otherwise."""
    random = np.random.default_rng(1)
    rows = []
    for machine_type in ("fan", "pump", "valve"):
        for machine_id, named in (("00", True), ("02", True), ("01", False)):
            for number in range(24):
                label, domain = number % 2, ("source", "target")[number // 12]
                word = ("normal", "anomaly")[label]
                if layout == "dcase2020":
                    name = f"{word}_id_{machine_id}_{number:08d}.wav" if named else f"id_{machine_id}_{number:08d}.wav"
                else:
                    said = f"{domain}_test_{word}_" if named else ""
                    name = f"section_{machine_id}_{said}{number:04d}.wav"
                scores = (random.normal() + label, random.normal() + (2.0 if named else -1.0) * label)
                rows.append((name, machine_type, machine_id, "" if layout == "dcase2020" else domain, label, *scores))
    names, types, ids, domains, label, plain, other = (list(column) for column in zip(*rows, strict=True))
    keys = [f"{a}-{b}" for a, b in zip(types, names, strict=True)]
    return Clips(keys, names, types, ids, domains, np.array(label), {"knn": np.array(plain), "lof": np.array(other)})
