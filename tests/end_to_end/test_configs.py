"""Every config in configs/ is built, takes two steps and is scored, at narrow width, by the real entry points."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import train_ddp
from asd.config.load import load_config
from asd.evaluate.background import BackgroundScoring
from asd.loggers.jsonl import read_metrics
from asd.scorers import scorer_label
from tests.support.hooks import score_at_once
from tests.support.inline import score_run
from tests.support.launch import losses, succeed
from tests.support.narrow import CONFIGS, words_of

Trained = Callable[[str], Path]


@pytest.fixture(scope="module")
def trained(small_set: Path, domain_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """trained(name) → the run folder of two steps of that config; where it starts from the run of another, of that
    before. Its evaluation is not scored."""

    @cache
    def train(name: str) -> Path:
        run, words = tmp_path_factory.mktemp(name) / "run", words_of(name, small_set, domain_set)
        if (former := load_config(CONFIGS[name]).init_from) is not None:
            words.append(f"init_from={train(former.removeprefix('runs/'))}")
        assert train_ddp.main(["--config", str(CONFIGS[name]), *words, f"run.dir={run}"]) == 0
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BackgroundScoring, "submit", lambda self, step: None)
        yield train


@pytest.mark.parametrize("name", CONFIGS)
def test_takes_two_steps_and_is_scored(name: str, trained: Trained, tmp_path: Path) -> None:
    run = trained(name)
    losses = [record["loss"] for record in read_metrics(run / "metrics.jsonl") if "loss" in record]
    assert len(losses) == (2 if load_config(CONFIGS[name]).task.trains else 0)
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    report = json.loads((score_run(run, tmp_path / "scores", "--checkpoint", "last") / "report.json").read_text())
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
        "multi_branch_dcase2022",
    ],
)
def test_every_family_trains_on_two_ranks(name: str, small_set: Path, domain_set: Path, tmp_path: Path) -> None:
    words = [*words_of(name, small_set, domain_set), "init_from=null", f"run.dir={tmp_path / 'run'}"]
    succeed(tmp_path / "log", ["--config", str(CONFIGS[name]), *words], ranks=2, prepare=score_at_once)
    assert list(losses(tmp_path / "run")) == [1, 2]
    assert list((tmp_path / "run" / "evaluations").glob("*/report.json"))
