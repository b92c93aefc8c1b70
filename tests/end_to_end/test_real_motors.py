"""Real brushless motors, five clips of each recording: what leaving recordings out of the calibration is worth."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.frontends.log_mel import LogMel, LogMelConfig
from asd.metrics.thresholds import GammaConfig, decide, fit_threshold
from asd.scorers import EmbeddingTable, UntrainedKnnConfig, build_scorer
from tests.support.embedded import embedded_of

MOTORS = Path(__file__).resolve().parents[3] / "shared" / "data" / "real_machines"
RATE = 16_000


@pytest.fixture(scope="module")
def motors() -> tuple[EmbeddingTable, np.ndarray]:
    """Motors 01 and 02: time-mean log-mels and recordings; the label of training clips is -1, else 0 or 1."""
    if not (MOTORS / "manifest.csv").is_file():
        pytest.skip("the real recordings ../shared/data/real_machines are not here")
    with (MOTORS / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["machine"] == "bldc" and row["id"] in ("01", "02")]
    sound = np.stack([soundfile.read(MOTORS / row["path"], dtype="float32")[0] for row in rows])
    frontend = LogMel(LogMelConfig(n_fft=1024, hop=512, n_mels=128, mel_scale="slaney", area_norm=True), RATE)
    with torch.no_grad():
        features = frontend(torch.from_numpy(sound)).mean(-1).flatten(1)
    label = np.array([-1 if row["split"] == "train" else int(row["label"] == "anomaly") for row in rows])
    names = [row["source_path"] for row in rows]
    recording = torch.tensor([names.index(name) if label[n] < 0 else n for n, name in enumerate(names)])
    clips = embedded_of(features, class_index=torch.tensor([int(row["id"]) for row in rows]), features=features)
    return replace(clips, recording=recording), label


def rates(motors: tuple[EmbeddingTable, np.ndarray], own: int, by_recording: bool) -> tuple[float, float]:
    """(hit rate, false-alarm rate) of one motor's test clips at its threshold."""
    clips, label = motors
    clips = clips if by_recording else replace(clips, recording=clips.clip_index)
    parts = (torch.from_numpy(part) & (clips.class_index == own) for part in (label < 0, label >= 0))
    train, test = map(clips.select, parts)
    scorer = build_scorer(UntrainedKnnConfig())
    scorer.fit(train)
    threshold = fit_threshold(scorer.score_normal(train, train), GammaConfig(), train.recording.tolist())
    found = decide(scorer.score(test), threshold.value)
    known = label[(label >= 0) & (clips.class_index == own).numpy()]
    return float(found[known == 1].mean()), float(found[known == 0].mean())


@pytest.mark.parametrize("own", [1, 2])
def test_clips_left_out_one_by_one_call_everything_an_anomaly(motors, own):
    assert rates(motors, own, by_recording=False) == (1.0, 1.0)


@pytest.mark.parametrize(("own", "hits"), [(1, 0.9), (2, 0.5)])
def test_recordings_left_out_raise_no_false_alarm(motors, own, hits):
    assert rates(motors, own, by_recording=True) == (pytest.approx(hits, abs=0.05), 0.0)
