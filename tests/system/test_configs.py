"""Every config in configs/ is built, takes two steps and is scored, at narrow width, by the real entry points."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import eval as evaluation
import train_ddp
from asd.config import RunConfig, load_config
from asd.evaluator import BackgroundScoring
from asd.loggers import read_metrics
from asd.scorers import scorer_label

CONFIGS = {path.stem: path for path in sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))}
NARROW = {
    "resnet50": ["backbone.width=4", "backbone.depths=[1, 1, 1, 1]"],
    "resnet50_ir": ["backbone.width=4", "backbone.depths=[1, 1, 1, 1]", "backbone.embedding=32"],
    "mobilefacenet": ["backbone.width=0.125", "backbone.embedding=32"],
    "cp_resnet": ["backbone.width=4"],
    "mobilenet_v2": ["backbone.width=0.125", "backbone.last=32"],
    "efficientnet_b0": ["backbone.width=0.125"],
    "autoencoder": ["task.network.hidden=[16, 16]"],
    "wavenet": ["task.network.channels=8", "task.network.dilations=[1, 2]"],
    "wavenet_mu_law": ["task.network.channels=4", "task.network.skip=4", "task.network.dilations=[1, 2]"],
}
SHORT = ["train.epochs=null", "train.steps=2", "train.precision=fp32", "train.log_every=1"]
FRAMES = 8  # of a window, where a config's would be longer than the clips


@pytest.mark.parametrize("name", CONFIGS)
def test_takes_two_steps_and_is_scored(
    name: str, small_set: Path, domain_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackgroundScoring, "submit", lambda self, step: None)  # scored below, in this process
    run = train(name, small_set, domain_set, tmp_path / "run")
    losses = [record["loss"] for record in read_metrics(run / "metrics.jsonl") if "loss" in record]
    assert len(losses) == 2
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert evaluation.main(["score", "--run", str(run), "--checkpoint", "last"]) == 0
    report = json.loads((run / "scores" / "step_00000002" / "report.json").read_text())
    scorers = [scorer_label(scorer) for scorer in load_config(CONFIGS[name]).evaluate.scorers]
    assert list(report["scorers"]) == scorers
    assert {"untrained_knn", "untrained_knn_level"} <= set(scorers)
    assert all(0 <= scorer["mean"]["auc"] <= 1 for scorer in report["scorers"].values())


def train(name: str, small_set: Path, domain_set: Path, run: Path) -> Path:
    """Two steps of a config in a run folder; where it starts from the run of another one, of that before."""
    config = load_config(CONFIGS[name])
    words = [*narrow(config), f"data.shards={small_set if 'dcase2020' in config.data.shards else domain_set}"]
    if name == "demo":
        words[-1] = f"data.shards={small_set}"
    if config.init_from is not None:
        former = train(
            config.init_from.removeprefix("runs/"), small_set, domain_set, run.with_name(f"{run.name}_former")
        )
        words.append(f"init_from={former}")
    assert train_ddp.main(["--config", str(CONFIGS[name]), *words, f"run.dir={run}"]) == 0
    return run


def narrow(config: RunConfig) -> list[str]:
    """Overrides that make the network narrow, the batch small and everything short."""
    network = config.backbone or config.task.network  # type: ignore[union-attr]
    words = [*SHORT, *NARROW[network.name]]
    crop = [] if config.evaluate.first_s else ["data.crop_s=0.5"]  # some networks take one clip length alone
    if network.name == "wavenet_mu_law":
        crop = ["data.crop_s=0.1", "evaluate.first_s=0.1"]  # it is slow: each sample is a prediction
    if config.windows is not None and config.windows.frames > FRAMES:
        words += [f"windows.frames={FRAMES}", f"windows.hop={FRAMES}"]
        words += [f"backbone.conv_frames={FRAMES}"] if getattr(network, "pool", "") == "conv" else []
    streams, batch = config.data.streams, 16
    if streams.outlier_rows:
        words += ["data.streams.outlier_rows=4"]
    if streams.target_rows:
        words += ["data.streams.target_rows=4"]
    if config.data.machine_ids:
        words += ["data.machine_ids=['00', '01']"]
    return [*words, *crop, f"train.global_batch={batch}"]
