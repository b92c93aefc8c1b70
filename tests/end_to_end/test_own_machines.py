"""The default for own machines: a network that counts for what it shows beside statistics, or is not trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import train_ddp
from asd.errors import UserError
from asd.metrics import read_scores
from asd.run_folder import checkpoint
from tests.support.hooks import score_at_once
from tests.support.inline import score_inline
from tests.support.launch import succeed
from tests.support.narrow import CONFIGS
from tests.support.resumable import cut
from tests.support.sets import make_set

NARROW = ("backbone.width=8", "statistics.ranks=[1.0]", "frontend.mel.n_mels=32", "data.crop_s=0.5")
SCORERS = (
    "evaluate.scorers=[{name: fused, members: [{name: band_knn}], views: [mean, mean_level], "
    "trained: [{name: knn, view: network}]}, {name: knn, view: network}, {name: untrained_knn}]"
)


def words(shards: Path, folder: Path, *more: str) -> list[str]:
    own = [f"data.shards={shards}", f"run.dir={folder}", "distributed.precision=fp32"]
    return ["--config", str(CONFIGS["own_machines"]), *own, *NARROW, SCORERS, *more]


def trained(shards: Path, folder: Path, *more: str) -> list[str]:
    """A few steps of small batches."""
    return words(shards, folder, "train.global_batch=16", "mixup.group_size=8", "train.steps=4", *more)


def report_of(folder: Path) -> dict[str, object]:
    return json.loads(next(folder.glob("evaluations/*/report.json")).read_text())


def scores_of(folder: Path) -> dict[str, np.ndarray]:
    return dict(read_scores(next(folder.glob("evaluations/*/scores.csv"))).scores)


@pytest.fixture(scope="module")
def run(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(trained(small_set, folder, "checkpoint.every_steps=2")) == 0
    return folder


@pytest.mark.parametrize(("clips", "machines", "why"), [(10, 1, "a single machine"), (5, 2, "8 clips to learn from")])
def test_where_nothing_can_be_learnt_nothing_is_trained(
    clips: int, machines: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_inline(monkeypatch)
    shards = make_set(tmp_path, classes=[("fan", "00"), ("fan", "02")][:machines], train=clips, seconds=0.5)
    folder = tmp_path / "run"
    for _ in range(2):  # the second time there is nothing left to do
        assert train_ddp.main(words(shards, folder)) == 0
    assert checkpoint.complete_steps(folder / "checkpoints") == [0]
    (note,) = report_of(folder)["notes"]
    assert note.startswith("trained members do not count: nothing was trained, ")
    assert why in note
    assert report_of(folder)["fit_clips"] == clips * machines
    found, alone = scores_of(folder)["fused"], tmp_path / "alone"
    without = SCORERS.replace(", trained: [{name: knn, view: network}]", "")
    assert train_ddp.main([*words(shards, alone), without]) == 0
    assert found.tolist() == scores_of(alone)["fused"].tolist()


def test_a_report_says_what_trained_members_count(run: Path) -> None:
    (note,) = report_of(run)["notes"]
    assert note.startswith("trained members ")
    assert "held-out normal clips the network takes" in note
    assert f"- {note}" in next(run.glob("evaluations/*/report.md")).read_text()


def test_two_ranks_say_what_one_says(run: Path, small_set: Path, tmp_path: Path) -> None:
    succeed(tmp_path / "log", trained(small_set, tmp_path / "two"), ranks=2, prepare=score_at_once)
    for name, scores in scores_of(run).items():
        np.testing.assert_allclose(scores_of(tmp_path / "two")[name], scores, rtol=1e-3, atol=1e-3)


def test_a_broken_run_goes_on_as_if_it_had_not_been(run: Path, small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    cut(run, folder, step=2)
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(trained(small_set, folder, "checkpoint.every_steps=2")) == 0
    for name, scores in scores_of(run).items():
        assert scores_of(folder)[name].tolist() == scores.tolist()


def test_scorers_beside_statistics_name_what_they_read(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="knn reads the network's embedding and the statistics beside it as one"):
        train_ddp.main(words(small_set, tmp_path / "run", "evaluate.scorers=[{name: knn}]"))
