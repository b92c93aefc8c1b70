"""Beside the public code: a stand-in of its shape, timed by the real driver; ours by the real train_ddp.py."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import UserError
from benchmarks.speed import public_code, public_page, public_runs
from benchmarks.speed.part import Part
from benchmarks.speed.public_driver import EnoughSteps, TimedLoader
from benchmarks.speed.public_page import BEST, FP32, PUBLIC, START
from benchmarks.speed.public_runs import Run, Setting, clips_per_s, parameters_in
from benchmarks.speed.public_sets import CLASSES, Sets, write_short
from tests.system.launch import ROOT, TINY

DATALOADER = """
import glob, torch, torchaudio
class train_dataset(torch.utils.data.Dataset):
    def __init__(self, root, names):
        files = [f for name in names for f in sorted(glob.glob(f"{root}/{name}/train/*.wav"))]
        self.clips = [torchaudio.load(f)[0][..., :8000] for f in files]
    def __getitem__(self, index):
        return self.clips[index], torch.zeros(1), torch.tensor(index % 4)
    def __len__(self):
        return len(self.clips)
"""
UTILS = """
import torch
def dataset_split(clips, split_ratio):
    return torch.utils.data.random_split(clips, [split_ratio, 1 - split_ratio])
"""
TRAINER = f"""
import sys
from pathlib import Path
import torch
sys.path.append({str(ROOT)!r})
from asd.config import load_config
from asd.tasks import build_task
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        task = build_task(load_config(Path({str(TINY)!r})), 7, 16000, 4)
        self.task = [task]
        self.tgramnet, self.mobilefacenet, self.arcface = task.encoder.frontend, task.encoder.backbone, task.loss
        self.mobilefacenet.fc_out = torch.nn.Linear(2, 3)
    def forward(self, waveform, mel, label):
        embedding = self.task[0].encoder(waveform.squeeze(1))[:, 0]
        return self.arcface(embedding, label, label, torch.ones(len(label))), None
class Trainer:
    def __init__(self, device, **settings):
        self.device, self.net, self.criterion = device, Net(), lambda losses, label: losses.mean()
    def train(self, loader, held_out, path):
        for waveform, mel, label in loader:
            self.criterion(self.net(waveform, mel, label)[0], label).backward()
"""
CONFIG = (
    "{split_ratio: 0.95, alpha: 0.5, mode: noisy_arcmix, epoch: 3, num_classes: 4, m: 0.7, lr: 1.0e-4, save_path: x}"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Modules of the names and signatures that the driver asks of a checkout."""
    folder = tmp_path / "checkout"
    (folder / "model").mkdir(parents=True)
    texts = {"dataloader": DATALOADER, "utils": UTILS, "trainer": TRAINER, "train": "def random_seed(seed): pass\n"}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "model" / "net.py").write_text("")
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def test_both_sides_are_run_and_compared(
    small_set: Path, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        (public_runs, "CONFIG", TINY),
        (public_code, "CLASSES", CLASSES[:4]),
        (public_code, "make_sets", lambda *_: Sets(small_set.parent / "recordings", small_set, small_set)),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("benchmarks.speed.public_same.CONFIG", TINY)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    args = argparse.Namespace(rounds=1, work=tmp_path / "work", public=checkout)
    size = dataclasses.replace(public_code.ON_CPU, batch=16, steps=2, many=1000)
    part = public_code.measure(args, size, {FP32: public_code.VARIANTS[FP32]})
    rows = {row[0]: row for row in part.tables[0].rows}
    assert set(rows) == {PUBLIC, FP32} and rows[PUBLIC][2] == "1.00 (1.00 – 1.00)"
    figures = part.figures
    assert figures["public.clips_per_s"] > 0 and 0 < figures["public.start_up_s_per_clip"] < 1
    assert figures["public.ours_best_clips_per_s"] == figures["public.ours_fp32_clips_per_s"] > 0
    assert "a layer of 9 more that nothing uses" in part.remarks[0]


def test_without_a_checkout_it_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = argparse.Namespace(rounds=1, work=tmp_path, public=None)
    assert public_code.run(args) is None
    assert "git clone soonhyeon/Noisy-ArcMix" in capsys.readouterr().out
    args.public = tmp_path
    with pytest.raises(UserError, match="holds no checkout"):
        public_code.run(args)


def test_steps_are_counted_over_the_ends_of_epochs() -> None:
    loader = TimedLoader([("x", [0, 1, 2]), ("x", [3])], steps=5)
    seen = []
    with pytest.raises(EnoughSteps):
        for batch in loader:
            seen.append(batch)
    assert [len(b[-1]) for b in seen] == loader.clips == [3, 1, 3, 1, 3]
    assert len(loader.asked) == 6 and loader.asked == sorted(loader.asked)


def test_warm_up_is_left_out_of_the_speed() -> None:
    records = [{"step": 10, "step_s": 9.0}, {"step": 20, "step_s": 0.5}, {"step": 25, "step_s": 2.0}]
    assert clips_per_s(records, batch=6, warm_up=10) == pytest.approx(6 * 15 / (10 * 0.5 + 5 * 2.0))
    assert parameters_in("a\ntast, mobilefacenet, arcface: 1,156,566 parameters\nb") == 1_156_566


def _run(speed: float, start_s: float, parameters: int = 10) -> Run:
    details = {"clips": 100, "decode_s": 2.0, "decoded_bytes": 100 * 2**20, "unused_parameters": 1}
    return Run(start_s, speed, 1.0, parameters, details)


def _report(losses: tuple[float, float] = (2.0, 2.0), parameters: int = 10) -> Part:
    runs = {
        PUBLIC: [_run(4.0, 5.0), _run(2.0, 5.0), _run(3.0, 5.0)],
        START: [_run(1.0, 4.0)] * 3,
        FP32: [_run(8.0, 3.0, parameters), _run(2.0, 3.0), _run(6.0, 3.0)],
        BEST: [_run(20.0, 3.0)] * 3,
    }
    return public_page.report(runs, Setting(32, 3, 2, "cpu", 1), 20_000, losses)


def test_goals_are_ratios_of_the_same_round() -> None:
    start, fp32, best = _report().goals
    assert fp32.found == [2.0, 1.0, 2.0] and fp32.goal == 1.2
    assert best.found == [5.0, 10.0, 20.0 / 3.0] and best.goal == 2.0
    assert start.found == [(5.0 + 0.02 * 19_900) / 4.0] * 3 and start.goal == 50.0


def test_different_networks_are_not_compared() -> None:
    with pytest.raises(UserError, match=r"networks of \[10, 11\] parameters"):
        _report(parameters=11)
    with pytest.raises(UserError, match="the losses differ"):
        _report(losses=(2.0, 2.1))


def test_short_clips_are_named_as_in_dcase_2020(tmp_path: Path) -> None:
    write_short(tmp_path, 84)
    files = sorted(tmp_path.rglob("*.wav"))
    assert len(files) == 84 and len(list(tmp_path.rglob("test/anomaly_*.wav"))) == len(CLASSES) == 41
    samples, rate = soundfile.read(files[0], dtype="int16")
    assert (len(samples), rate) == (1600, 16_000) and np.ptp(samples) > 1000
