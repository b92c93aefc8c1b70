"""Losses that are not finite, and precisions."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asd.run_folder import checkpoint
from tests.end_to_end.test_bad_input import refused
from tests.support.hooks import nan_from_then_on, nan_once, no_scoring
from tests.support.launch import losses, records, run, succeed, train_words

KEEP = "checkpoint={every_steps: 1, keep_last: 100}"


def state(folder: Path, step: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights and optimiser state of a checkpoint."""
    place = checkpoint.step_path(folder / "checkpoints", step)
    optimizer = torch.load(place / "optimizer.pt", weights_only=True)["state"]
    flat = {f"{index}.{name}": value for index, own in optimizer.items() for name, value in own.items()}
    model = load_file(place / "model.safetensors")
    return {name: value for name, value in model.items() if not name.endswith("num_batches_tracked")}, flat


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("norm", ["group", "batch", "sync"])
def test_one_bad_step_changes_nothing_and_is_counted(small_set: Path, tmp_path: Path, norm: str) -> None:
    """Neither weights nor optimiser nor running statistics."""
    folder = tmp_path / "run"
    words = train_words(small_set, folder, KEEP, f"backbone.norm={norm}")
    succeed(tmp_path / "log", words, ranks=2, prepare=nan_once)
    before, at, after = (state(folder, step) for step in (3, 4, 5))
    assert same(before[0], at[0]), "weights"
    assert same(before[1], at[1]), "optimiser"
    assert not same(at[0], after[0])
    counts = [record["nonfinite_steps"] for record in records(folder) if "loss" in record]
    assert counts == [0] * 3 + [1] * 7
    assert [step for step, loss in losses(folder).items() if loss is None] == [4]  # JSON has no NaN


def test_a_streak_of_bad_losses_stops_all_ranks(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = train_words(small_set, folder, KEEP, "train.max_nonfinite=3")
    line = refused(run(tmp_path / "log", words, ranks=2, prepare=nan_from_then_on))
    assert "not finite for 3 steps in a row by step 6" in line
    newest = checkpoint.complete_steps(folder / "checkpoints")[-1]
    assert all(tensor.isfinite().all() for tensor in state(folder, newest)[0].values())


def test_bfloat16(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = train_words(small_set, folder, "distributed.precision=bf16", "train.steps=3", "train.epochs=null")
    done = succeed(tmp_path / "log", words, ranks=2, prepare=no_scoring)
    assert "2 ranks on cpu in bf16" in done.out[0]
    assert all(math.isfinite(loss) for loss in losses(folder).values())


def test_a_network_that_exploded_is_not_scored(small_set: Path, tmp_path: Path) -> None:
    words = train_words(small_set, tmp_path / "run", "optim={lr: 1.0e+30}", "train.steps=2", "train.epochs=null")
    line = refused(run(tmp_path / "log", words, ranks=2, prepare=no_scoring))
    assert "step 2: the network gives non-finite embeddings: use distributed.precision=fp32" in line
