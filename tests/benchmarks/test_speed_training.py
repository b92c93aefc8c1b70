"""The part `training` on a tiny set: it runs end to end, and its sessions do not mix."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from benchmarks.speed import training
from benchmarks.speed.steps import Setting, make_set, sessions

TINY = ("data.crop_s=0.5", "frontend.n_mels=32", "backbone.width=8", "backbone.depths=[1,1,1,1]")
SETTING = Setting("dcase2020_integrated", 16, words=TINY)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


def test_sessions_of_two_precisions_take_turns_and_train_each_its_own_network(work: Path) -> None:
    again = SETTING.with_(words=(*TINY, "train.reuse_first_batch=true"))
    with sessions([SETTING, SETTING.with_(precision="bf16"), again], make_set(work, 2, 0.5)) as own:
        fp32, bf16, reused = own
        for session in (*own, fp32):
            assert session.clips_per_s(2) > 0
        assert [s.trainer.state.step for s in own] == [6, 4, 4]
        precisions = []
        for session in (fp32, bf16):
            network = session.trainer.parts.task.encoder.backbone.stages  # type: ignore[union-attr]
            network.register_forward_hook(lambda *a: precisions.append(a[2].dtype))
            session.step_s(1)
        assert precisions == [torch.float32, torch.bfloat16]
        assert [found["data_wait_s"] for found in reused.spent] == [0.0]
        assert not torch.equal(*(s.parameters[0].detach() for s in (fp32, bf16)))


def test_the_part_runs_end_to_end(work: Path) -> None:
    sizes = training.Sizes({"small": SETTING}, 1, 2, 0.5, ranked=("small",))
    part = training.run(argparse.Namespace(work=work, rounds=1), sizes)
    assert [row[1] for row in part.tables[0].rows] == ["fp32", "bf16"]
    goals = {goal.what: goal.found[0] for goal in part.goals}
    assert goals["small: two ranks / one rank with all cores"] > 0
    assert 0 < goals["small: convolutions and matrix products, of a step"] <= 100
    assert len(goals) == 3
