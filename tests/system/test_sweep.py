"""Several runs, one table: one model per machine type, done once, told together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asd import sweep, sweep_jobs, sweep_table
from asd.errors import UserError
from tests.sets import make_set
from tests.system.launch import TINY


@pytest.fixture(scope="module")
def two_types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classes = (("fan", "00"), ("fan", "02"), ("pump", "00"), ("pump", "04"))
    return make_set(tmp_path_factory.mktemp("two_types"), classes=classes, train=20, test=3)


def test_one_model_per_type_in_one_table_and_nothing_twice(
    two_types: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    command = ["--config", str(TINY), "--by-type", "--out", str(out), f"data.shards={two_types}"]
    assert sweep.main(command) == 0
    assert capfd.readouterr().out.count("===") == 2
    table = json.loads((out / "report.json").read_text())
    for numbers in table[TINY.stem].values():
        assert set(numbers["types"]) == {"fan", "pump"}
        assert numbers["auc"] == pytest.approx(sum(numbers["types"].values()) / 2)
        assert 0 <= numbers["auc_oracle"] <= 1
    (run,) = (out / TINY.stem).glob("seed_0_fan_*")
    assert json.loads((run / "run.json").read_text())["machine_types"] == ["fan"]
    assert sweep.main(command) == 0
    assert "===" not in capfd.readouterr().out
    jobs = sweep.plan_jobs(sweep.parse_args(command))
    assert [job.done for job in jobs] == [True, True]
    assert all(job.seconds > 0 for job in jobs)
    changed = sweep.plan_jobs(sweep.parse_args([*command, "train.epochs=3"]))
    assert [job.done for job in changed] == [False, False]  # another config is another run


def test_spread_over_seeds() -> None:
    seeds = [
        {"fan": _numbers(0.8, 0.6, 0.7), "pump": _numbers(0.6, None, 0.5)},
        {"fan": _numbers(0.9, 0.6, 0.6), "pump": _numbers(0.7, 0.5, 0.4)},
    ]
    spread = sweep_table._spread(seeds)
    assert spread["auc"] == pytest.approx(0.75)
    assert spread["auc_sd"] == pytest.approx(0.1 / 2**0.5)
    assert spread["pauc"] == pytest.approx((0.6 + 0.55) / 2)
    assert spread["types"] == pytest.approx({"fan": 0.85, "pump": 0.65})
    assert spread["auc_by_seed"] == pytest.approx([0.7, 0.8])
    assert spread["pauc_by_seed"] == pytest.approx([0.6, 0.55])
    assert spread["mauc"] == pytest.approx(0.55)
    assert spread["auc_pooled"] is None


def _numbers(auc: float, pauc: float | None, lowest: float) -> dict[str, float | None]:
    return {"auc_mean": auc, "pauc_mean": pauc, "auc_min": lowest, "auc_pooled": None}


def test_slots_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_jobs.os, "sched_getaffinity", lambda pid: {0, 2, 4, 5, 7})
    shares = [sweep_jobs._cores_of(slot, 2) for slot in range(2)]
    assert shares == [{0, 4, 7}, {2, 5}]
    assert [sweep_jobs._cores_of(slot, 7) for slot in (4, 5, 6)] == [{7}, {0}, {2}]  # more slots than cores


def test_words_that_are_no_overrides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--sedes"):
        sweep.main(["--config", str(TINY), "--out", str(tmp_path), "--sedes", "1"])


def test_slots_share_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_jobs.torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,6,7")
    assert [sweep_jobs._devices_of(slot, ranks=2, slots=2) for slot in range(2)] == ["2,3", "6,7"]
    assert sweep_jobs._devices_of(0, ranks=2, slots=1) is None
    with pytest.raises(UserError, match="need 6 GPUs, 4 are visible"):
        sweep_jobs._devices_of(0, ranks=2, slots=3)
    monkeypatch.setattr(sweep_jobs.torch.cuda, "device_count", lambda: 0)
    assert sweep_jobs._devices_of(1, ranks=1, slots=2) is None
