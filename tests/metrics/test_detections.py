"""Hit rate, false-alarm rate and F1 of decisions against scikit-learn, machine by machine and all together."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from asd.metrics import ClipScores
from asd.metrics.decisions import NO_DECISION
from asd.metrics.detections import detections


def clips_of(machine_ids: list[str], label: np.ndarray) -> ClipScores:
    keys = [f"clip{n}" for n in range(len(label))]
    return ClipScores(
        keys, keys, ["fan"] * len(keys), machine_ids, [""] * len(keys), label, {"knn": np.zeros(len(keys))}
    )


def test_rates_equal_scikit_learns() -> None:
    random = np.random.default_rng(0)
    ids = [("00", "01", "02")[n] for n in random.integers(0, 3, 200)]
    label, decision = random.integers(0, 2, 200), random.integers(0, 2, 200)
    found = detections(clips_of(ids, label), decision)
    assert list(found.machines) == ["fan/00", "fan/01", "fan/02"]
    for name, own in [*found.machines.items(), ("all", found.all)]:
        rows = np.array([name in ("all", f"fan/{i}") for i in ids])
        (quiet, alarms), (missed, hits) = confusion_matrix(label[rows], decision[rows])
        assert own.hit_rate == pytest.approx(recall_score(label[rows], decision[rows]))
        assert own.false_alarm_rate == pytest.approx(alarms / (alarms + quiet))
        assert own.f1 == pytest.approx(f1_score(label[rows], decision[rows]))
        assert (own.hits, own.anomalies) == (hits, hits + missed)
        assert (own.false_alarms, own.normals) == (alarms, alarms + quiet)


def test_what_cannot_be_known_is_null() -> None:
    label = np.array([0, 0, 1, 1, -1, 0])
    ids = ["00", "00", "01", "01", "01", "02"]
    found = detections(clips_of(ids, label), np.array([1, 0, 1, NO_DECISION, 1, NO_DECISION]))
    rates = ("hit_rate", "false_alarm_rate", "f1")
    assert [getattr(found.machines["fan/00"], rate) for rate in rates] == [None, 0.5, None]
    assert [getattr(found.machines["fan/01"], rate) for rate in rates] == [1.0, None, 1.0]
    assert [getattr(found.machines["fan/02"], rate) for rate in rates] == [None, None, None]
    assert [getattr(found.all, rate) for rate in rates] == [1.0, 0.5, pytest.approx(2 / 3)]
