"""Configs as they are on a set of DCASE 2020's size: how a start is measured."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks import full_size
from benchmarks.results.slices import Slice
from tests.support.launch import TINY


def test_a_start_is_measured_and_stopped_before_any_evaluation(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = TINY.read_text().replace("epochs: 2,", "epochs: 9999,").replace("every_epochs: 2", "every_epochs: 999")
    (tmp_path / "long.yaml").write_text(long)
    monkeypatch.setattr(full_size, "CONFIGS", tmp_path)
    monkeypatch.setattr(full_size, "SLICES", (Slice("long", "long", ()),))
    args = argparse.Namespace(work=tmp_path / "work", steps=2, ranks=1, accumulate=1, precision="fp32")
    args.work.mkdir()
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
