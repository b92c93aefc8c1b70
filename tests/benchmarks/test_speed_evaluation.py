"""The part `evaluation` in small: it runs end to end, and both sides of a comparison find the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asd.report import read_report
from asd.scorers import SCORERS, CentroidConfig, KnnConfig, scorer_label
from benchmarks.speed import evaluation, evaluation_scorers
from benchmarks.speed.evaluation_set import Clips, make_clips

CLIPS = 41 * 30


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return make_clips(tmp_path_factory.mktemp("evaluation") / "set", CLIPS, 32)  # fewer leave no room for 41 directions


def test_anomalies_are_found_but_not_all_of_them(clips: Clips) -> None:
    assert (len(clips.fit) + len(clips.validation), len(clips.test)) == (CLIPS, CLIPS)
    for config in (CentroidConfig(), KnnConfig()):
        found = np.mean(evaluation_scorers.our_aucs(clips, evaluation_scorers.ours(config, clips)), axis=0)
        assert 0.55 < found[0] < 0.95


@pytest.mark.skipif(not evaluation_scorers.FAISS, reason="faiss is not installed")
@pytest.mark.parametrize("config", [KnnConfig(), KnnConfig(k=5)], ids=scorer_label)
def test_faiss_gives_the_same_scores(clips: Clips, config: KnnConfig) -> None:
    ours, theirs = (score(config, clips) for score in (evaluation_scorers.ours, evaluation_scorers.by_faiss))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)


def test_the_part_end_to_end(tmp_path: Path) -> None:
    assert {config.name for config in evaluation_scorers.SCORERS} == set(SCORERS)
    size = evaluation.Size(
        clips=CLIPS,
        dim=8,
        factory={"seed": 0, "clip_s": 1, "train_clips": 4, "test_clips": 1},
        words=("data.crop_s=0.5", "frontend.n_mels=32", "backbone.width=8", "backbone.depths=[1,1,1,1]",
               "train.global_batch=16"),
        ranks=1,
        windows=1,
        threads=(1,),
    )  # fmt: skip
    part = evaluation.measured(tmp_path, 1, size)
    report = read_report(tmp_path / "scored")
    assert report is not None and report.step == 1
    rows = [row[0] for table in part.tables for row in table.rows]
    assert {f"{scorer_label(own)}, one thread" for own in evaluation_scorers.SCORERS} <= set(rows)
    goals = {goal.what: goal for goal in part.goals}
    assert goals["AUC + pAUC: largest difference to scikit-learn's"].reached
    assert part.markdown()
