"""Every config in configs/ is built, takes two steps and is scored, at narrow width, by the real entry points."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import eval as evaluation
import train_ddp
from asd.background import BackgroundScoring
from asd.config import load_config
from asd.loggers import read_metrics
from asd.scorers import scorer_label
from tests.system.launch import losses, torchrun
from tests.system.narrow import CONFIGS, words_of


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


@pytest.mark.parametrize(
    "name",
    [
        "dcase2020_integrated",
        "tastgram_noisy_arcmix",
        "cpjku_ccsa",
        "pfu_mobilefacenet_1024",
        "vicreg_pretrain",
        "vicreg_finetune",
        "autoencoder",
    ],
)
def test_every_family_trains_on_two_ranks(name: str, small_set: Path, domain_set: Path, tmp_path: Path) -> None:
    words = [*words_of(name, small_set, domain_set), "init_from=null", f"run.dir={tmp_path / 'run'}"]
    with torchrun(tmp_path / "log", ["--config", str(CONFIGS[name]), *words]) as agent:
        code = agent.wait()
    assert code == 0, (tmp_path / "log").read_text()
    assert list(losses(tmp_path / "run")) == [1, 2]
    assert list((tmp_path / "run" / "evaluations").glob("*/report.json"))


def train(name: str, small_set: Path, domain_set: Path, run: Path) -> Path:
    """Two steps of a config in a run folder; where it starts from the run of another one, of that before."""
    words, init_from = words_of(name, small_set, domain_set), load_config(CONFIGS[name]).init_from
    if init_from is not None:
        former = run.with_name(f"{run.name}_former")
        words.append(f"init_from={train(init_from.removeprefix('runs/'), small_set, domain_set, former)}")
    assert train_ddp.main(["--config", str(CONFIGS[name]), *words, f"run.dir={run}"]) == 0
    return run
