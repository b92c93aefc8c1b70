"""Averaged weights (train.ema) through a run: saved, resumed, evaluated, exported; what is learnt stays the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import eval as evaluation
import train_ddp
from asd.detector import read_detector
from asd.metrics import read_scores
from asd.run_folder import checkpoint
from tests.end_to_end.test_ranks import PLAIN_SGD
from tests.support.hooks import no_scoring
from tests.support.inline import score_inline, score_run
from tests.support.launch import losses, succeed, train_words
from tests.support.resumable import cut, train

STEPS = 10
SHORT, EMA = "train.epochs=2", "train.ema=0.9"


def at(folder: Path, step: int = STEPS) -> Path:
    return checkpoint.step_path(folder / "checkpoints", step)


def averaged(folder: Path, step: int = STEPS) -> dict[str, Tensor]:
    return load_file(at(folder, step) / "averaged.safetensors")


def newest(folder: Path, step: int = STEPS) -> dict[str, Tensor]:
    return load_file(at(folder, step) / "model.safetensors")


def test_a_resumed_run_equals_an_unbroken_one(small_set: Path, tmp_path: Path) -> None:
    """Two ranks with statistics of their own, and dropout."""
    whole, folder = tmp_path / "whole", tmp_path / "run"
    train(small_set, whole, SHORT, EMA)
    for step in range(1, STEPS):
        decay, weights = (1 + step) / (10 + step), newest(whole, step + 1)
        for name, tensor in averaged(whole, step + 1).items():
            expected = decay * averaged(whole, step)[name].double() + (1 - decay) * weights[name].double()
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-6)
    cut(whole, folder, 4)
    assert "resuming from step 4\n" in train(small_set, folder, SHORT, EMA)
    assert losses(folder) == losses(whole)
    for name in ("averaged.safetensors", "model.safetensors"):
        assert (at(folder) / name).read_bytes() == (at(whole) / name).read_bytes()


def test_two_ranks_have_the_averages_of_one(small_set: Path, tmp_path: Path) -> None:
    found = []
    for ranks in (1, 2):
        folder = tmp_path / f"run{ranks}"
        words = train_words(small_set, folder, *PLAIN_SGD, "backbone.norm=sync", EMA)
        succeed(tmp_path / f"log{ranks}", words, ranks=ranks, prepare=no_scoring)
        found.append(averaged(folder, 4))
    first = averaged(folder, 1)
    assert any(not torch.equal(tensor, first[name]) for name, tensor in found[0].items())
    for name, tensor in found[0].items():
        apart, moved = (float((tensor.double() - other[name].double()).abs().max()) for other in (found[1], first))
        assert apart <= 1e-6 + 0.05 * moved, (name, apart, moved)


@pytest.fixture(scope="module")
def runs(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run with averages and without, each scored at its end; not to be written to."""
    root = tmp_path_factory.mktemp("ema")
    found = {name: root / name for name in ("with", "without")}
    words = ["backbone.norm=batch", "evaluate={every_epochs: 2, scorers: [{name: centroid}, {name: softmax}]}", SHORT]
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        for name, folder in found.items():
            more = [EMA] if name == "with" else []
            assert train_ddp.main(train_words(small_set, folder, *words, *more)) == 0
    return found


def test_what_is_learnt_stays_the_same(runs: dict[str, Path]) -> None:
    assert losses(runs["with"]) == losses(runs["without"])
    assert newest(runs["with"]).keys() == newest(runs["without"]).keys()
    for name, tensor in newest(runs["without"]).items():
        assert torch.equal(newest(runs["with"])[name], tensor), name
    assert not (at(runs["without"]) / "averaged.safetensors").exists()


def test_training_and_eval_score_the_averages(runs: dict[str, Path], tmp_path: Path) -> None:
    logged, without = (next((runs[name] / "evaluations").iterdir()) for name in ("with", "without"))
    again = score_run(runs["with"], tmp_path / "again")
    assert (again / "scores.csv").read_text() == (logged / "scores.csv").read_text()
    ours, theirs = (read_scores(folder / "scores.csv").scores["centroid"] for folder in (logged, without))
    assert not (ours == theirs).any()
    validation = [
        json.loads((folder / "report.json").read_text())["validation"]["loss"] for folder in (logged, without)
    ]
    assert validation[0] != validation[1]


def test_the_exported_detector_has_the_averages(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "detector.pt"
    assert evaluation.main(["export", "--run", str(runs["with"]), "--checkpoint", "last", "--out", str(out)]) == 0
    weights = read_detector(out).weights
    expected = newest(runs["with"]) | averaged(runs["with"])
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def test_a_run_without_averages_goes_on_with_them_and_back(small_set: Path, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    train(small_set, whole, SHORT)
    cut(whole, folder, 4)
    said = train(small_set, folder, SHORT, EMA)
    assert "changed since then: train.ema (None, now 0.9)\n" in said
    assert "this checkpoint has no averaged weights: train.ema=0.9 starts at its weights\n" in said
    assert newest(folder).keys() > averaged(folder).keys()
    assert (at(folder) / "model.safetensors").read_bytes() == (at(whole) / "model.safetensors").read_bytes()
    said = train(small_set, folder, "train.epochs=3")
    assert "train.ema (0.9, now None)" in said
    last = checkpoint.step_path(folder / "checkpoints", 15)
    assert checkpoint.is_complete(last)
    assert not (last / "averaged.safetensors").exists()
