"""The part `training` on a tiny set: it runs end to end, and its numbers mean what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.speed import training
from benchmarks.speed.step_costs import FLAVOURS, costs, optimiser_ms
from benchmarks.speed.steps import PARTS, Setting, make_set, sessions

TINY = ("data.crop_s=0.5", "frontend.n_mels=32", "backbone.width=8", "backbone.depths=[1,1,1,1]")
SETTING = Setting("dcase2020_integrated", 16, words=TINY)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


@pytest.fixture(scope="module")
def shards(work: Path) -> Path:
    return make_set(work, 2, 0.5)


def test_the_set_is_made_once_and_its_recordings_are_not_kept(shards: Path, work: Path) -> None:
    made = (shards / "manifest.json").stat().st_mtime_ns
    assert make_set(work, 2, 0.5) == shards and (shards / "manifest.json").stat().st_mtime_ns == made
    assert [path.name for path in work.iterdir() if path.name.endswith("recordings")] == []


def test_sessions_of_two_precisions_take_turns_and_train_each_its_own_network(shards: Path) -> None:
    with sessions([SETTING, SETTING.with_(precision="bf16"), SETTING.with_(reuse=True)], shards) as opened:
        fp32, bf16, reused = opened
        for session in (*opened, fp32):
            assert session.clips_per_s(2) > 0
        assert [s.trainer.state.step for s in opened] == [6, 4, 4]
        assert len(fp32.waits) == 2 and len(fp32.shares) == 2
        precisions = []
        for session in (fp32, bf16):
            network = session.trainer.parts.task.encoder.backbone.stages  # type: ignore[union-attr]
            network.register_forward_hook(lambda *a: precisions.append(a[2].dtype))
            session.step_s(1)
        assert precisions == [torch.float32, torch.bfloat16]
        assert reused.waits == [0.0]
        weights = [s.parameters[0].detach() for s in (fp32, bf16)]
        assert not torch.equal(*weights)


def test_shares_cover_the_step_and_every_part_that_ran(shards: Path) -> None:
    with sessions([SETTING], shards) as (session,):
        session.step_s(3)
        (shares,) = session.shares
        assert set(shares) == set(PARTS) and sum(shares.values()) == pytest.approx(1)
        assert all(shares[part] > 0 for part in PARTS)
        found = costs(session)
        assert found.operators > 100 and len(found.largest) == 3
        assert 0 < sum(share for _, share in found.largest) <= 1
        before = session.parameters[0].detach().clone()
        assert set(optimiser_ms(session.parameters, 1)) == set(FLAVOURS)
        assert torch.equal(session.parameters[0], before)  # copies were trained


def test_the_part_runs_end_to_end(work: Path, shards: Path) -> None:
    sizes = training.Sizes({"small": SETTING}, steps=1, clips=2, clip_s=0.5, compiled=False, ranked=())
    found = training._measure_config("small", SETTING, shards, 2, sizes)
    rows = found.speed_rows("small")
    assert [row[1] for row in rows] == ["fp32", "first batch reused", "without channels_last", "bf16"]
    assert rows[0][3] == "1.00 (1.00 – 1.00)"
    assert [goal.unit for goal in found.goals("small")] == ["×", "%"]


def test_two_ranks_measure_the_loop_beside_bare_ddp(work: Path, shards: Path) -> None:
    found = training.worker(work, shards, 2, ["--overhead", "--steps", "3", "--config", "dcase2020_integrated"])
    assert set(found) == {"trainer_ms", "bare_ms"} and min(found.values()) > 0
    assert not list(work.glob("step_worker_*"))
