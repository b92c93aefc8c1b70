"""What each source states is what its configs say: numbers, choices and the rules by which weights are chosen."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

import pydantic
import pytest

from asd.config.load import load_config
from asd.data.config import DataConfig

CONFIGS = Path(__file__).parents[1] / "configs"
EPSILON = 2.220446049250313e-16
# files → key → value. The sources: docs/systems.md.
STATED: dict[str, dict[str, Any]] = {
    "dcase2020_*": {
        "frontend.pad_mode": "reflect", "frontend.n_fft": 1024, "frontend.hop": 512, "frontend.n_mels": 128,
        "train.global_batch": 64, "optim.name": "adam", "optim.weight_decay": 0.0, "optim.lr": 2e-4,
        "optim.schedule.t_up": 2, "optim.schedule.t_0": 10, "optim.schedule.t_mult": 2, "mixup.alpha": 1.0,
        "evaluate.every_epochs": 2,
    },
    "dcase2020_transfer": {"init_checkpoint": "best", "model.freeze": "all_but_centres"},
    "dcase2020_integrated_flatten": {"backbone.pool": "flatten", "backbone.flatten_frames": 313},
    "tastgram_*_paper": {
        "data.first_s": 10.0, "data.crop_s": 10.0, "evaluate.first_s": 10.0, "evaluate.every_epochs": 1,
        "evaluate.select": "clean", "frontend.mel.eps": EPSILON, "frontend.norm_over": "time", "train.epochs": 300,
    },
    "tastgram_noisy_arcmix_paper": {"loss.validation_margin": True, "loss.margin": 0.7, "loss.scale": 30.0},
    "tastgram_softmax*": {"loss.name": "softmax", "loss.label_smoothing": 0.0, "mixup": None},
    "cpjku_*": {"loss.norm": "batch", "data.val_fraction": 0, "evaluate.select": "last", "frontend.center": False},
    "cpjku_ccsa": {
        "task.divisor": "all", "task.compare": "maps", "task.margin": 0.5, "init_checkpoint": "last", "optim.lr": 1e-5,
        "train.epochs": 3,
    },
    "pfu_*": {
        "optim.name": "sgd", "optim.momentum": 0.0, "optim.lr": 0.05, "data.val_fraction": 0, "evaluate.select": "last",
        "train.global_batch": 48, "train.epochs": 250, "loss.margin": 0.05, "loss.scale": 30.0,
    },
    "vicreg_*": {
        "task.mixup_input": "spectrogram", "task.reduction": "mean", "task.alpha": 0.5, "windows.frames": 64,
        "windows.hop": 8, "windows.drawn": 1, "data.crop_s": 10.0, "data.val_fraction": 0, "evaluate.select": "last",
        "frontend.zero_mean": True,
    },
    "vicreg_pretrain": {
        "train.global_batch": 2048, "optim.name": "lars", "optim.lr": 0.8, "optim.weight_decay": 1e-4,
        "task.gamma": 25.0, "task.mu": 25.0, "task.nu": 1.0,
    },
    "vicreg_finetune": {"data.streams.target": "pairs", "train.global_batch": 128, "optim.name": "adamw"},
}  # fmt: skip


@pytest.mark.parametrize("pattern", STATED)
def test_a_config_says_what_its_source_states(pattern: str) -> None:
    paths = sorted(CONFIGS.glob(f"{pattern}.yaml"))
    assert paths
    for path in paths:
        config = load_config(path)
        for key, value in STATED[pattern].items():
            assert reduce(getattr, key.split("."), config) == value, (path.name, key)


def test_the_published_score_leaves_the_margin_on() -> None:
    config = load_config(CONFIGS / "tastgram_noisy_arcmix_paper.yaml")
    first = config.evaluate.scorers[0]
    assert first.name == "neg_log_softmax"
    assert (first.margin, first.scale) == (config.loss.margin, config.loss.scale)  # type: ignore[union-attr]


def test_pretraining_is_as_long_as_the_source_counts_it() -> None:
    """100 epochs over all 32 windows of 6000 clips, 10 of them with a rising rate, in batches of 1024 pairs."""
    config = load_config(CONFIGS / "vicreg_pretrain.yaml")
    assert config.windows is not None
    windows = config.windows.windows_of(config.frontend.frames_of(160_000))
    clips, batch = 6 * 1000, config.train.global_batch
    assert config.train.total_steps(clips // batch) == pytest.approx(100 * windows * clips / batch, rel=0.01)
    assert config.optim.schedule.warmup_epochs == config.train.epochs / 10  # type: ignore[union-attr, operator]


def test_the_first_seconds_must_hold_a_crop() -> None:
    assert DataConfig(crop_s=2.0, first_s=2.0).first_s == 2.0
    with pytest.raises(pydantic.ValidationError, match="first_s=1 must be at least crop_s=2"):
        DataConfig(crop_s=2.0, first_s=1.0)
