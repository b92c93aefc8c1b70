"""Thresholds of few recordings are doubted in words that name the machine, the count and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from asd.metrics import ClipScores
from asd.metrics.decisions import decide_clips
from asd.metrics.thresholds import GammaConfig, PercentileConfig, Threshold
from asd.report.evidence import evidence_warnings, joined, rule_in_words


def resting_on(clips: int, recordings: int, reason: str = "") -> Threshold:
    return Threshold(1.0, "percentile" if reason else "gamma", reason, clips, recordings)


@pytest.mark.parametrize(("percent", "needed"), [(50.0, 2), (90.0, 10), (95.0, 20), (99.0, 100), (99.9, 1000)])
def test_one_recording_is_expected_above(percent, needed):
    for rule in (GammaConfig(percent=percent), PercentileConfig(percent=percent)):
        assert rule.recordings_needed == needed


def test_enough_recordings_raise_no_doubt():
    thresholds = {"fan/00": resting_on(10, 10), "fan/02": resting_on(300, 12)}
    assert evidence_warnings(thresholds, GammaConfig()) == []


def test_few_recordings_are_counted_and_a_single_one_is_something_else():
    thresholds = {"pump/1": resting_on(30, 1), "pump/2": resting_on(30, 10), "pump/3": resting_on(25, 5)}
    one, few = evidence_warnings(thresholds, GammaConfig())
    assert (one.code, few.code) == ("one_recording", "few_recordings")
    assert one.text.startswith("pump/1 (30 clips): threshold and held-out clips come from a single recording")
    assert one.text.endswith("record the machine at 10 times or more")
    assert few.text.startswith("pump/3 (5 recordings): the threshold is fitted to few recordings, where 10 or more are")


def test_what_is_said_of_several_machines_is_said_once():
    counts = {"pump/1": 5, "pump/2": 1, "pump/3": 4}
    each = [evidence_warnings({name: resting_on(30, n)}, GammaConfig())[0].text for name, n in counts.items()]
    few, one = joined(each)
    assert few.startswith("pump/1 (5 recordings), pump/3 (4 recordings): the threshold is fitted to few recordings")
    assert one == each[1]


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (
            resting_on(40, 8),
            "90 % point of a gamma distribution fitted to the scores of 40 normal clips of 8 recordings",
        ),
        (
            resting_on(40, 10),
            "90 % point of a gamma distribution fitted to the scores of 40 normal clips of 10 recordings, at most the "
            "largest of them",
        ),
        (Threshold(1.0, "percentile", "", 4, 4), "90 % point of the scores of 4 normal clips of 4 recordings"),
        (resting_on(5, 5, "why"), "90 % point of the scores of 5 normal clips of 5 recordings: why"),
    ],
)
def test_a_rule_says_what_it_was_and_why(threshold, said):
    assert rule_in_words(threshold, GammaConfig()) == said


@pytest.mark.parametrize(("recording", "counted"), [(None, 12), (["a", "b", "b"] * 4, 2)])
def test_thresholds_know_what_they_rest_on(recording, counted):
    words = [str(n) for n in range(12)]
    clips = ClipScores(
        words, words, ["fan"] * 12, ["00"] * 12, [""] * 12, np.zeros(12, int), {"knn": np.arange(12.0)}, recording
    )
    found = decide_clips(clips, clips, "knn", GammaConfig()).thresholds["fan", "00"]
    assert (found.clips, found.recordings) == (12, counted)
