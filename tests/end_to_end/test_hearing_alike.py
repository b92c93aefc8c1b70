"""A detector hears new recordings as those of its training were heard: the real commands, from packing to decisions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import eval as evaluation
import train_ddp
from asd.detector import read_detector, write_detector
from shards import pack
from tests.support.inline import score_inline
from tests.support.launch import train_words
from tests.support.sets import SAMPLE_RATE, machine_sound

WORDS = ("train.epochs=null", "train.steps=2", "evaluate.scorers=[{name: untrained_knn}]")


def stereo(seed: int, anomaly: bool = False) -> np.ndarray:
    """The machine on the left, a quieter one in noise on the right."""
    rng = np.random.default_rng(seed)
    near = machine_sound(0, SAMPLE_RATE, rng, anomaly)
    return np.stack([near, 0.2 * near + 0.1 * rng.standard_normal(len(near))], axis=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a detector of stereo recordings, packed with --channel 0, and of new recordings."""
    place = tmp_path_factory.mktemp("heard")
    for index, machine in enumerate(("fan", "pump")):
        (place / "recordings" / machine / "train").mkdir(parents=True)
        for number in range(16):
            path = place / "recordings" / machine / "train" / f"normal_id_00_{number:08d}.wav"
            soundfile.write(path, stereo(100 * index + number), SAMPLE_RATE)
    shards, run = place / "shards", place / "run"
    words = ["--layout", "dcase2020", "--source", place / "recordings", "--out", shards, "--channel", "0"]
    assert pack.main([*map(str, words), "--workers", "1"]) == 0
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(train_words(shards, run, *WORDS)) == 0
        assert evaluation.main(["export", "--run", str(run), "--out", str(place / "detector.pt")]) == 0
    (place / "live").mkdir()
    soundfile.write(place / "live" / "new.wav", stereo(999), SAMPLE_RATE)
    return place


def judged(place: Path, *words: object, detector: str = "detector.pt", code: int = 0) -> dict[str, Any]:
    out = place / "out.json"
    out.unlink(missing_ok=True)
    fixed = ["clips", "--detector", place / detector, "--machine", "fan", "--out", out]
    assert evaluation.main([*map(str, fixed), *map(str, words)]) == code
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def test_the_channel_of_packing_is_the_default(place, capfd):
    own = judged(place, place / "live")
    assert capfd.readouterr().err == ""
    assert (own["channel"], own["sample_rate"]) == (0, SAMPLE_RATE)
    assert own["trained_on"] == {
        "channel": 0, "channels": [2], "rates": [SAMPLE_RATE], "clips_s": [1.0, 1.0], "cut": False,
    }  # fmt: skip
    assert own["clips"] == judged(place, place / "live", "--channel", "0")["clips"]
    assert own["clips"][0]["score"] != pytest.approx(
        judged(place, place / "live", "--channel", "average")["clips"][0]["score"], rel=1e-3
    )


@pytest.mark.parametrize("channel", ["1", "average"])
def test_another_choice_is_said(place, capfd, channel):
    judged(place, place / "live", "--channel", channel)
    said = capfd.readouterr().err
    assert f"warning: --channel {channel}: {place / 'detector.pt'} was trained on channel 0 of 2\n" in said


def test_what_differs_from_training_is_said(place, capfd, tmp_path):
    soundfile.write(tmp_path / "mono.wav", stereo(1)[:, 0], SAMPLE_RATE)
    soundfile.write(tmp_path / "slow.wav", stereo(2), 8_000)
    mono, slow = judged(place, tmp_path)["clips"]
    assert mono["remarks"] == ["of 1 channel, trained on channel 0 of 2"]
    assert "at 8000 Hz, trained on 16000 Hz" in slow["remarks"]
    assert "1 of 2 recordings: at 8000 Hz, trained on 16000 Hz" in capfd.readouterr().err


def test_fewer_channels_than_the_chosen_one_are_refused(place, tmp_path):
    file = read_detector(place / "detector.pt")
    assert file.heard is not None
    write_detector(place / "right.pt", file.model_copy(update={"heard": file.heard.model_copy(update={"channel": 1})}))
    soundfile.write(tmp_path / "mono.wav", stereo(1)[:, 0], SAMPLE_RATE)
    (clip,) = judged(place, tmp_path, detector="right.pt", code=1)["clips"]
    assert clip["error"] == "it has 1 channel, numbered from 0"


def test_several_channels_are_refused_where_training_heard_one(place):
    file = read_detector(place / "detector.pt")
    assert file.heard is not None
    mono = file.heard.model_copy(update={"channel": None, "channels": (1,)})
    write_detector(place / "mono.pt", file.model_copy(update={"heard": mono}))
    (clip,) = judged(place, place / "live", detector="mono.pt", code=1)["clips"]
    assert clip["error"] == ("it has 2 channels, trained on one channel: name --channel N or --channel average")


def test_a_detector_of_an_older_version_warns(place, capfd):
    file = read_detector(place / "detector.pt")
    write_detector(place / "old.pt", file.model_copy(update={"heard": None, "format": 1}))
    found = judged(place, place / "live", detector="old.pt")
    assert (found["channel"], found["trained_on"]) == ("average", None)
    said = capfd.readouterr().err
    assert f"warning: {place / 'old.pt'} does not say which channel it was trained on: the mean of several" in said


def test_tables_name_the_channel(place, capfd):
    words = ["clips", "--detector", place / "detector.pt", place / "live", "--machine", "fan"]
    assert evaluation.main(list(map(str, words))) == 0
    assert "channel 0" in capfd.readouterr().out
