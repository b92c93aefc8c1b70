"""What a detector says of its thresholds: how each was found, and what is to be doubted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asd.commands.export import _say_thresholds, _thresholds
from asd.data.manifest import Manifest
from asd.detector import FittedScorer
from asd.metrics import ClipScores
from asd.metrics.thresholds import GammaConfig
from asd.scorers import UntrainedKnnConfig


@pytest.fixture
def found(small_manifest: Manifest) -> dict[str, Any]:
    """Of four machines: 30 recordings, 5 recordings of 6 clips, one recording of 30 clips, none at all."""
    counts = {"fan/00": 30, "fan/02": 5, "pump/00": 1}
    machines = [machine.split("/") for machine in counts for _ in range(30)]
    recording = [f"{machine} {clip % count}" for machine, count in counts.items() for clip in range(30)]
    words, scores = [str(n) for n in range(90)], np.random.default_rng(0).gamma(3.0, 1.0, 90)
    types, ids = (list(column) for column in zip(*machines, strict=True))
    normal = ClipScores(words, words, types, ids, [""] * 90, np.zeros(90, int), {"untrained_knn": scores}, recording)
    evaluation: Any = SimpleNamespace(threshold=GammaConfig())
    return _thresholds(small_manifest, normal, "untrained_knn", evaluation)


def test_each_threshold_says_how_it_was_found_and_on_how_little(found):
    assert found["rules"] == {
        own: f"90 % point of a gamma distribution fitted to the scores of 30 normal clips of {count}"
        for own, count in enumerate(("30 recordings, at most the largest of them", "5 recordings", "1 recording"))
    }
    assert set(found["thresholds"]) == {0, 1, 2}
    assert found["doubts"][1].startswith("fan/02 (5 recordings): the threshold is fitted to few recordings")
    assert found["doubts"][2].startswith("pump/00 (30 clips): threshold and held-out clips come from a single")
    assert set(found["doubts"]) == {1, 2}


def test_exporting_shows_it(found, small_manifest, capsys, caplog):
    file: Any = SimpleNamespace(
        classes=small_manifest.classes, scorers=[FittedScorer(config=UntrainedKnnConfig(), state={}, **found)]
    )
    _say_thresholds(file)
    lines = capsys.readouterr().out.splitlines()
    for line, own, machine in zip(lines, range(3), ("fan/00", "fan/02", "pump/00"), strict=False):
        value = found["thresholds"][own]
        assert line == f"{machine}: untrained_knn above {value:.5g} is an anomaly, {found['rules'][own]}"
    no_threshold = "valve/04 has no threshold: more of its normal clips are needed"
    assert caplog.messages == [found["doubts"][1], found["doubts"][2], no_threshold]
