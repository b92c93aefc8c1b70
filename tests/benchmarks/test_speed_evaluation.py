"""The part `evaluation` in small: it runs end to end, and its numbers mean what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asd.data.manifest import LABEL_ANOMALY
from asd.evaluation_folder import Evaluation, read_report
from asd.scorers import SCORERS, CentroidConfig, KnnConfig, LofConfig, SoftmaxConfig, scorer_label
from benchmarks.speed import evaluation, evaluation_child, evaluation_scorers
from benchmarks.speed.evaluation_set import HELD_OUT, Clips, make_clips

CLIPS = 41 * 30


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return make_clips(tmp_path_factory.mktemp("evaluation") / "set", CLIPS, 32)  # fewer leave no room for 41 directions


def test_the_made_up_set_has_the_counts_it_speaks_of(clips: Clips) -> None:
    assert len(clips.manifest.classes) == 41
    assert (len(clips.fit) + len(clips.validation), len(clips.test)) == (CLIPS, CLIPS)
    assert len(clips.validation) == pytest.approx(HELD_OUT * CLIPS, abs=1)
    assert set(np.bincount(clips.test.class_index)) == {30}
    assert (clips.manifest.label[clips.test.clip_index] == LABEL_ANOMALY).mean() == 0.5
    assert not (clips.manifest.label[clips.fit.clip_index] == LABEL_ANOMALY).any()


def test_anomalies_are_found_but_not_all_of_them(clips: Clips) -> None:
    for config in (CentroidConfig(), KnnConfig()):
        found = np.mean(evaluation_scorers.our_aucs(clips, evaluation_scorers.ours(config, clips)), axis=0)
        assert 0.55 < found[0] < 0.95


def test_every_scorer_is_measured() -> None:
    assert {config.name for config in evaluation_scorers.SCORERS} == set(SCORERS)


@pytest.mark.parametrize("config", [KnnConfig(), KnnConfig(k=5), LofConfig(k=5)], ids=scorer_label)
def test_peers_give_the_same_scores(clips: Clips, config: KnnConfig | LofConfig) -> None:
    peers = evaluation_scorers.peers(config, clips)
    assert "scikit-learn" in peers
    for scores in peers.values():
        np.testing.assert_allclose(scores(), evaluation_scorers.ours(config, clips), rtol=1e-4, atol=1e-5)


def test_aucs_of_both_sides_are_the_same(clips: Clips) -> None:
    scores = evaluation_scorers.ours(SoftmaxConfig(), clips)
    ours, theirs = (f(clips, scores) for f in (evaluation_scorers.our_aucs, evaluation_scorers.sklearn_aucs))
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_the_stages_of_the_scoring_process_are_its_whole_time(clips: Clips, tmp_path: Path) -> None:
    evaluation._lay_down(tmp_path / "scored", clips, step=3)
    found = evaluation_child.scored(tmp_path / "scored", tmp_path / "tensorboard")
    report = read_report(tmp_path / "scored")
    assert report is not None and report["step"] == 3
    stages = {evaluation_child.IMPORTS, evaluation_child.REST, *evaluation_child.STAGES.values()}
    assert found.keys() == stages | {"total", "peak_mib"}
    assert all(found[stage] >= 0 for stage in stages)
    assert sum(found[stage] for stage in stages) <= found["total"]
    assert found["peak_mib"] > 100


def test_scorers_are_all_the_defaults(clips: Clips, tmp_path: Path) -> None:
    evaluation._lay_down(tmp_path, clips, step=1)
    read = Evaluation.model_validate_json((tmp_path / "evaluation.json").read_bytes())
    assert read.fit_clips == len(clips.fit) and read.scorers == evaluation.DEFAULT_SCORERS


def test_the_part_end_to_end(tmp_path: Path) -> None:
    size = evaluation.Size(
        clips=CLIPS,
        dims=(8, 16),
        factory={"seed": 0, "clip_s": 1, "train_clips": 4, "test_clips": 1},
        words=("data.crop_s=0.5", "frontend.n_mels=32", "backbone.width=8", "backbone.depths=[1,1,1,1]",
               "train.global_batch=16"),
        every_epochs=1,
        ranks=1,
        windows=1,
        threads=(1,),
    )  # fmt: skip
    part = evaluation.measured(tmp_path, 1, size)
    rows = [row[0] for table in part.tables for row in table.rows]
    assert {f"{scorer_label(own)}, one thread" for own in evaluation_scorers.SCORERS} <= set(rows)
    goals = {goal.what: goal for goal in part.goals}
    assert goals["AUC + pAUC: largest difference to scikit-learn's"].reached
    assert "figures" in rows and "**all**" in rows
    assert part.markdown()
