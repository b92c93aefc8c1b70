"""What export is asked to put into the file: normal recordings, with their sound, and thresholds of a budget."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import eval as evaluation
from asd.audio.header import read_header
from asd.audio.recording import Target, read_pcm16
from asd.detector import build_network, read_detector
from asd.detector.picture import picture_of
from asd.errors import UserError
from asd.metrics.false_alarms import FalseAlarmsConfig
from asd.scorers import build_scorer
from asd.scorers.state import state_of
from tests.support.clips import make_run
from tests.support.inline import score_inline


@pytest.fixture(scope="module", params=["windows", "measures"])
def run(request: pytest.FixtureRequest, uneven_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        return make_run(uneven_set, tmp_path_factory.mktemp("kept") / "run", request.param)


def export(run: Path, out: Path, *words: str) -> Path:
    assert evaluation.main(["export", "--run", str(run), "--out", str(out), *words]) == 0
    return out


def test_banks_of_kept_normals_are_those_of_the_file(run: Path, tmp_path: Path) -> None:
    """Of a set of few clips all are kept, so that scorers learn the same from them once more."""
    file = read_detector(path := export(run, tmp_path / "d.pt"))
    views = build_network(file, path).views
    for chosen in (scorer for scorer in file.scorers if "knn" in scorer.label):
        again = build_scorer(chosen.config)
        for own in range(len(file.classes)):
            again.fit(file.normals_of(own, path).table(own, views))
            state = state_of(chosen.config, again)[own]
            torch.testing.assert_close(state, chosen.state[own], rtol=0, atol=0)


def test_pictures_are_of_the_recordings_that_are_named(run: Path, uneven_set: Path, tmp_path: Path) -> None:
    file = read_detector(path := export(run, tmp_path / "d.pt", "--normals", "3"))
    for own, machine in enumerate(file.classes):
        normals = file.normals_of(own, path)
        assert 1 <= len(normals.names) <= len(normals.columns["clip_index"]) <= 3
        for name, seconds, picture in zip(normals.names, normals.seconds, normals.pictures, strict=True):
            recording = uneven_set.parent / "recordings" / machine.machine_type / "train" / name
            samples, _ = read_pcm16(recording, read_header(recording), Target(file.sample_rate))
            heard = samples[: round(file.clip_s * file.sample_rate)] if file.fixed_length else samples
            assert seconds == pytest.approx(file.clip_s if file.fixed_length else len(samples) / file.sample_rate)
            if len(heard) == round(seconds * file.sample_rate):  # shorter ones are repeated
                assert torch.equal(picture_of(heard, file.sample_rate)[0], picture)


def test_none_are_kept_where_none_are_wanted(run: Path, tmp_path: Path) -> None:
    path = export(run, tmp_path / "d.pt", "--normals", "0")
    with pytest.raises(UserError, match=r"keeps no normal recordings of .*--normals 0: export it again"):
        read_detector(path).normals_of(0, path)
    with pytest.raises(UserError, match="--normals -1: give a number from 0"):
        export(run, tmp_path / "e.pt", "--normals", "-1")
    assert not (tmp_path / "e.pt").exists()


def test_thresholds_by_a_budget_of_false_alarms(run: Path, tmp_path: Path) -> None:
    words = ("--false-alarms", "1/hour", "--alarm-when", "2/3", "--every", "60")
    file = read_detector(export(run, tmp_path / "d.pt", *words))
    rule = FalseAlarmsConfig(at_most="1/hour", every_s=60.0, hits=2, of=3)
    assert file.threshold_rules == dict.fromkeys(range(4), rule)
    for scorer in file.scorers:
        assert scorer.thresholds.keys() == set(range(4))
        assert "for at most 1/hour false alarms, 2 of 3 windows, one every 60 s: " in scorer.rules[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--false-alarms", "1/day"],
            "--false-alarms: fan/00 .and 3 machines more.: 1/day .*: 13 normal clips are there",
        ),
        (["--false-alarms", "1/year"], "--false-alarms 1/year: give a number an hour, a day or a week, such as 1/day"),
        (["--false-alarms", "1/day", "--alarm-when", "3 of 5"], "--alarm-when 3 of 5: give hits of windows"),
        (["--alarm-when", "3/5"], "--alarm-when: it belongs to --false-alarms"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(run: Path, tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        export(run, tmp_path / "d.pt", *words)
    assert not (tmp_path / "d.pt").exists()
