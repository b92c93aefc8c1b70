"""Traces of training steps, and what a user reads where memory is short."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from asd.distributed.memory import enough_memory
from asd.errors import UserError
from asd.train.profile import ProfileConfig, StepProfile

CPU = torch.device("cpu")


def train(profile: StepProfile, steps: int) -> None:
    for step in range(steps):
        profile.before(step)
        torch.ones(8, 8) @ torch.full((8, 8), float(step))
        profile.after(step + 1)


def test_the_steps_asked_for_are_traced(tmp_path: Path) -> None:
    train(StepProfile(ProfileConfig(start=2, steps=3), 0, CPU, tmp_path / "profile"), 9)
    with gzip.open(tmp_path / "profile" / "rank_0_from_step_2.json.gz") as file:
        events = json.load(file)["traceEvents"]
    assert sum(event.get("name") == "aten::mm" for event in events) == 3
    assert "aten::mm" in (tmp_path / "profile" / "rank_0_from_step_2.txt").read_text()


@pytest.mark.parametrize(("config", "steps"), [(None, 20), (ProfileConfig(ranks=(1,)), 20), (ProfileConfig(), 12)])
def test_nothing_is_written_by_others_nor_of_half_a_trace(
    config: ProfileConfig | None, steps: int, tmp_path: Path
) -> None:
    profile = StepProfile(config, 0, CPU, tmp_path / "profile")
    train(profile, steps)
    assert not (tmp_path / "profile").exists()


def test_a_trace_that_cannot_be_written_does_not_stop_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "profile").write_text("in the way")
    train(StepProfile(ProfileConfig(start=0, steps=1), 0, CPU, tmp_path / "profile"), 3)
    assert "the profile of steps 0 to 1 cannot be written" in caplog.text


def test_too_little_memory_is_one_line() -> None:
    line = "a step with 64 clips does not fit the memory of cpu: lower it"
    with pytest.raises(UserError, match=line), enough_memory(CPU, "a step with 64 clips", "lower it"):
        torch.empty(1 << 50)
    with pytest.raises(RuntimeError, match="cannot be multiplied"), enough_memory(CPU, "a step", "lower it"):
        torch.ones(2, 3) @ torch.ones(2, 3)
