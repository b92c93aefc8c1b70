"""Runs of several systems, and eval.py clips on their detectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eval as evaluation
import train_ddp
from tests.support.inline import score_inline
from tests.support.launch import train_words
from tests.support.sets import SAMPLE_RATE, machine_sound

CLASSIFIES = (
    [
        "softmax",
        "neg_log_softmax",
        "log_odds",
        "centroid",
        "knn",
        "local_knn",
        "lof",
        "mahalanobis",
        "gmm",
        "band_knn",
        "pca_residual",
        "fused",
        "untrained_knn",
    ],
    ["train.steps=2", "evaluate.flip=[fan/02]"],
)


# Windows, whose embeddings are averaged; the start of each clip alone.
WINDOWS = (
    ["knn", "log_odds", "untrained_knn"],
    ["train.steps=1", "windows={frames: 8, hop: 4}", "evaluate.average=embeddings", "evaluate.first_s=0.6"],
)


REBUILDS = (
    ["reconstruction", "selective_mahalanobis", "knn"],
    [
        "train.steps=1", "mixup=null", "loss=null", "backbone=null", "windows={frames: 5, hop: 1}",
        "task={name: reconstruction, network: {name: autoencoder, frames: 5, hidden: [16, 16]}}",
    ],
)  # fmt: skip


MEASURES = (
    ["fused", "band_knn_twfr_0.99_level", "knn_euclidean_mean_std", "mahalanobis_raw_quantiles", "untrained_knn"],
    [
        "optim=null", "mixup=null", "loss=null", "task={name: untrained}", "backbone={name: statistics}",
        "data.val_fraction=0", "evaluate.select=last", "evaluate.scorers=[{name: fused, members: [{name: band_knn}, "
        "{name: mahalanobis, space: raw}], views: [mean_std, twfr_0.99_level]}, "
        "{name: band_knn, view: twfr_0.99_level}, {name: knn, metric: euclidean, view: mean_std}, "
        "{name: mahalanobis, space: raw, view: quantiles}, "
        "{name: untrained_knn}]",
    ],
)  # fmt: skip


# A network, and statistics beside it.
WEIGHS = (
    ["fused", "knn_network", "band_knn_twfr_1_level", "softmax", "untrained_knn"],
    [
        "train.steps=2", "statistics={ranks: [1.0]}", "data.val_fraction=0.2", "evaluate.fit_held_out=true",
        "evaluate.scorers=[{name: fused, members: [{name: band_knn}], views: [mean, twfr_1_level], "
        "trained: [{name: knn, view: network}]}, {name: knn, view: network}, {name: band_knn, view: twfr_1_level}, "
        "{name: softmax}, {name: untrained_knn}]",
    ],
)  # fmt: skip
SYSTEMS = {
    "classifies": CLASSIFIES, "windows": WINDOWS, "rebuilds": REBUILDS, "measures": MEASURES, "weighs": WEIGHS
}  # fmt: skip


def make_run(shards: Path, folder: Path, system: str) -> Path:
    """A run of a step or two, in this process."""
    scorers, words = SYSTEMS[system]
    words = [f"evaluate.scorers=[{', '.join(f'{{name: {name}}}' for name in scorers)}]", *words]
    assert train_ddp.main(train_words(shards, folder, "train.epochs=null", *words)) == 0
    return folder


def exported(shards: Path, folder: Path, system: str) -> Path:
    """The detector of a run of a system, made in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        run = make_run(shards, folder / "run", system)
        assert evaluation.main(["export", "--run", str(run), "--out", str(folder / "detector.pt")]) == 0
    return folder / "detector.pt"


def clips(*words: object) -> int:
    return evaluation.main(["clips", *map(str, words)])


def judged(out: Path, *words: object, code: int = 0) -> dict[str, Any]:
    """What eval.py clips writes as json."""
    assert clips(*words, "--out", out) == code
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def sound(seconds: float, rate: int = SAMPLE_RATE, anomalous: bool = False) -> np.ndarray:
    return machine_sound(2.0, round(seconds * rate), np.random.default_rng(5), anomalous)
