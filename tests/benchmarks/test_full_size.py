"""Configs as they are on a set of DCASE 2020's size: the counts, and how a start is measured."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks import full_size
from benchmarks.results.slices import Slice
from shards.synth.clip import Clip
from shards.synth.layouts import LAYOUTS
from tests.system.launch import TINY

DCASE2020 = LAYOUTS["dcase2020"]


def test_the_set_has_the_clips_of_dcase_2020() -> None:
    assert {t: tuple(ids) for t, ids in full_size.COUNTS.items()} == DCASE2020.machine_ids(0)
    clips = list(full_size.all_clips())
    assert len({DCASE2020.path(clip) for clip in clips}) == len(clips)
    assert sum(clip.role == "train" for clip in clips) == 20_119 + 16_164  # development, additional training data
    assert sum(clip.role != "train" for clip in clips) == 10_868 + 7_103  # development, evaluation data


def test_recordings_are_written_in_the_layout(tmp_path: Path) -> None:
    clips = [Clip(0, "fan", 0, "train", 0), Clip(0, "fan", 0, "anomaly", 0), Clip(0, "pump", 2, "normal", 1)]
    full_size.write_recordings(tmp_path, clips, 0.5)
    assert all((tmp_path / DCASE2020.path(clip)).stat().st_size == 44 + 16_000 for clip in clips)


def test_a_start_is_measured_and_stopped_before_any_evaluation(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = TINY.read_text().replace("epochs: 2,", "epochs: 9999,").replace("every_epochs: 2", "every_epochs: 999")
    (tmp_path / "long.yaml").write_text(long)
    monkeypatch.setattr(full_size, "CONFIGS", tmp_path)
    monkeypatch.setattr(full_size, "SLICES", (Slice("long", "long", ()),))
    args = argparse.Namespace(work=tmp_path / "work", steps=2, ranks=1, accumulate=1, precision="fp32")
    args.work.mkdir()
    assert full_size.published_configs() == ["long"]
    found = full_size.start("long", small_set, args)
    name, classes, parameters, *numbers = found
    assert (name, classes) == ("long", "4") and int(parameters.replace(",", "")) > 1000
    assert all(0 < float(number) < 1000 for number in numbers)
    run = args.work / "runs" / "long"
    assert list((run / "checkpoints").glob("step_*/COMPLETE"))  # SIGTERM saves
    assert not (run / "evaluations").exists()
    body = full_size.section([found], args)
    assert "36,283 training and 17,971 test clips" in body
    assert f"| long | 4 | {parameters} |" in body
