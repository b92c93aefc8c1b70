"""Every config in configs/ is built, takes two steps and is scored, at narrow width, by the real entry points."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import eval as evaluation
import train_ddp
from asd.config import load_config
from asd.evaluator import BackgroundScoring
from asd.loggers import read_metrics

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))
NARROW = {
    "resnet50": ["backbone.width=4", "backbone.depths=[1, 1, 1, 1]"],
    "resnet50_ir": ["backbone.width=4", "backbone.depths=[1, 1, 1, 1]", "backbone.embedding=32"],
    "mobilefacenet": ["backbone.width=0.125", "backbone.embedding=32"],
}
SHORT = ["train.epochs=null", "train.steps=2", "train.global_batch=16", "train.precision=fp32"]


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_takes_two_steps_and_is_scored(
    path: Path, small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackgroundScoring, "submit", lambda self, step: None)  # scored below, in this process
    run = tmp_path / "run"
    config = load_config(path)
    crop = [] if config.evaluate.first_s else ["data.crop_s=0.5"]  # some networks take one clip length alone
    words = [*NARROW[config.backbone.name], *SHORT, *crop, f"data.shards={small_set}"]
    if config.init_from is not None:
        words += [f"init_from={train_former(config.init_from, words, tmp_path / 'former')}"]
    words += [f"run.dir={run}"]
    assert train_ddp.main(["--config", str(path), *words, "train.log_every=1"]) == 0
    losses = [record["loss"] for record in read_metrics(run / "metrics.jsonl") if "loss" in record]
    assert len(losses) == 2
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert evaluation.main(["score", "--run", str(run), "--checkpoint", "last"]) == 0
    report = json.loads((run / "scores" / "step_00000002" / "report.json").read_text())
    assert {"softmax", "centroid", "knn", "untrained_knn", "untrained_knn_level"} <= set(report["scorers"])
    assert all(0 <= scorer["mean"]["auc"] <= 1 for scorer in report["scorers"].values())


def train_former(run: str, words: list[str], folder: Path) -> Path:
    """The run that a config starts from, which bears the name of another config: two steps of that."""
    path = next(path for path in CONFIGS if run == f"runs/{path.stem}")
    assert train_ddp.main(["--config", str(path), *words, f"run.dir={folder}"]) == 0
    return folder
