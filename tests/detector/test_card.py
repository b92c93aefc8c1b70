"""The card of a detector: what it says, and of what it says that it is not known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd.detector import DetectorFile
from asd.detector.card import card, card_path
from asd.detector.evidence import Learnt, auc_with_interval, measured
from asd.detector.file import Calibration
from asd.errors import UserError
from asd.metrics import ClipScores
from tests.support.detectors import detector_file

COUNTS = [(40, 8, 0.5), (30, 30, 0.25), (10, 1, 0.1)]
LEARNT = {own: Learnt(clips=clips, recordings=recordings, hours=h) for own, (clips, recordings, h) in enumerate(COUNTS)}


@pytest.fixture(scope="module")
def file() -> DetectorFile:
    """Of three machines, two scorers; the last machine has no threshold by the first, and a doubt."""
    whole = detector_file("knn", "centroid")
    knn, centroid = whole.scorers
    doubts = {1: "fan/01 (1 clip): record the machine at more times"}
    knn = knn.model_copy(update={"thresholds": {0: 0.5, 1: 0.25}, "rules": {0: "90 % point"}, "doubts": doubts})
    return whole.model_copy(update={"scorers": (knn, centroid), "learnt": LEARNT})


def after_test(file: DetectorFile, clips: ClipScores) -> DetectorFile:
    found = measured(clips, file.classes, [scorer.label for scorer in file.scorers], file.scorers[0].thresholds)
    return file.model_copy(update={"tested": found})


def scored(spread: float = 1.0) -> ClipScores:
    """Of the first two machines; the second has normal clips alone."""
    random = np.random.default_rng(0)
    label = np.array([0] * 30 + [1] * 30 + [0] * 10)
    scores = {"knn": random.normal(0, spread, 70) + label, "other": np.zeros(70)}
    ids, words = ["00"] * 60 + ["01"] * 10, [str(n) for n in range(70)]
    return ClipScores(words, words, ["fan"] * 70, ids, [""] * 70, label, scores)


def test_it_says_what_is_known(file: DetectorFile):
    clips = scored()
    text = card(after_test(file, clips), Path("some/d_1.pt"), ["d.onnx: 1.0 MiB"])
    assert text.startswith("# Detector d_1.pt\n")
    assert "It knows 80 normal clips of 3 machines, 0.85 h at 16000 Hz; a usual clip" in text
    assert "| fan/00 | 40 | 8 | 0.50 |" in text
    assert "On 40 normal and 30 anomalous test clips of the same set." in text
    auc = 100 * roc_auc_score(clips.label[:60], clips.scores["knn"][:60])
    mean, low, high = map(float, re.search(r"\| knn \| (\S+) \| (\S+) \| (\S+) \|", text).groups())  # type: ignore[union-attr]
    assert mean == pytest.approx(auc, abs=0.051)
    assert low < mean < high
    assert "| centroid |" not in text  # it was not tested
    found = (clips.scores["knn"] > 0.5)[30:60].sum()
    assert f"By the thresholds of knn, {found} of 30 anomalies are found" in text
    assert "| fan/00 | 90 % point | 0.5 |" in text
    assert "- Without an anomalous test clip: fan/01, fan/02." in text
    assert "- Without a threshold: fan/02." in text
    assert "- fan/01 (1 clip): record the machine at more times." in text
    assert "- d.onnx: 1.0 MiB" in text
    assert "| torch | 2.13.0 | 2.13.0 |" in text


def test_it_says_what_is_not_known(file: DetectorFile):
    text = card(file, Path("d.pt"))
    assert "How well it finds faults is not known." in text
    assert "AUC" not in text
    assert "Other files" not in text


def test_after_a_calibration_it_says_what_was_done(file: DetectorFile):
    """And that the test was before; of an older file it does not say what it knows."""
    by = file.provenance.exported
    when = "2026-05-04T12:00:00+00:00"
    done = [
        Calibration(machine="fan/01", when=when, recordings=0, windows=14, kept=True, false_alarms=2, missed=1, by=by),
        Calibration(machine="fan/00", when=when, recordings=5, windows=40, kept=False, false_alarms=0, missed=0, by=by),
    ]
    changes = {"calibrations": tuple(done), "learnt": {0: LEARNT[0]}, "ignored": {0: ((50.0, 50.0), (900.0, 1000.0))}}
    text = card(after_test(file, scored()).model_copy(update=changes), Path("d.pt"))
    assert f"- {when}: fan/01 by the former normal recordings, 2 false alarms, 1 missed faults; 14 normal" in text
    assert f"- {when}: fan/00 by 5 recordings of normal sound; 40 normal clips in all\n" in text
    assert "This was before the calibration of fan/01, fan/00, which changed it." in text
    assert "40 normal clips of 3 machines, 0.50 h at 16000 Hz, without those marked ?;" in text
    assert "| fan/01 | ? | ? | ? |" in text
    assert "- What fan/00 sounds like at 50, 900-1000 Hz is not heard." in text
    assert "| torch | 2.13.0 | 2.13.0 | 2.13.0 |" in text


def test_the_interval_is_that_of_many_such_sets():
    """Of 30 + 30 clips whose AUC is 76 %: nine in ten intervals at least hold that, and their width is that of the
    AUCs of other such clips."""
    truth, inside, widths, aucs = 0.7602, 0, [], []
    random = np.random.default_rng(1)
    for _ in range(30):
        label = np.array([0] * 30 + [1] * 30)
        words = [str(n) for n in range(60)]
        scores = {"knn": random.normal(0, 1, 60) + label}
        mean, (low, high) = auc_with_interval(
            ClipScores(words, words, ["a"] * 60, ["0"] * 60, [""] * 60, label, scores), "knn"
        )
        inside += low <= truth <= high
        widths.append(high - low)
        aucs.append(mean)
    assert inside >= 26
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(aucs), rel=0.35)


def test_one_clip_of_a_kind_has_an_interval():
    clips = scored().select(np.array([0, 1, 2, 40]))
    mean, (low, high) = auc_with_interval(clips, "knn")
    assert 0 <= low <= mean <= high <= 1


def test_no_other_page_is_written_over(tmp_path: Path):
    assert card_path(tmp_path / "d.pt") == tmp_path / "d.md"
    (tmp_path / "d.md").write_text("# Detector d.pt\n")
    assert card_path(tmp_path / "d.pt") == tmp_path / "d.md"
    for name, text in (("readme.md", "# About\n"), ("bytes.md", "\x00")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match="which is no card of a detector: name another file"):
            card_path((tmp_path / name).with_suffix(".pt"))
    with pytest.raises(UserError, match="no card"):
        card_path(tmp_path / "d.md")
