"""The part `evaluation` in small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asd.metrics import auc
from asd.report import read_report
from asd.scorers import SCORERS, CentroidConfig, KnnConfig, build_scorer, scorer_label
from benchmarks.speed import evaluation, evaluation_training
from benchmarks.speed.evaluation_set import Clips, make_clips

CLIPS = 41 * 30


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return make_clips(tmp_path_factory.mktemp("evaluation") / "set", CLIPS, 32)  # fewer leave no room for 41 directions


def test_anomalies_are_found_but_not_all_of_them(clips: Clips) -> None:
    assert (len(clips.fit) + len(clips.validation), len(clips.test)) == (CLIPS, CLIPS)
    label = clips.manifest.label[clips.test.clip_index.numpy()]
    for config in (CentroidConfig(), KnnConfig()):
        scorer = build_scorer(config)
        scorer.fit(clips.fit)
        scores = scorer.score(clips.test)
        found = [auc(label[rows], scores[rows]) for rows in map(np.asarray, clips.test.rows_by_class().values())]
        assert 0.55 < np.mean(found) < 0.95


def test_the_part_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_training, "WINDOW_S", 0.3)
    assert {config.name for config in evaluation.SCORERS} == set(SCORERS)
    size = evaluation.Size(
        clips=41 * 10,
        dim=8,
        factory={"seed": 0, "clip_s": 1, "train_clips": 4, "test_clips": 1},
        words=("data.crop_s=0.5", "frontend.n_mels=32", "backbone.width=8", "backbone.depths=[1,1,1,1]",
               "train.global_batch=16"),
        ranks=1,
        windows=1,
    )  # fmt: skip
    part = evaluation.measured(tmp_path, 1, size)
    report = read_report(tmp_path / "scored")
    assert report is not None and report.step == 1
    assert all(f" {scorer_label(own)} " in part.remarks[0] for own in evaluation.SCORERS)
    assert [goal.unit for goal in part.goals] == ["s", "×"]
    assert part.markdown()
