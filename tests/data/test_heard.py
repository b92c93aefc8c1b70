"""What packing writes down of the recordings, and how a new recording differs from them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import soundfile

from asd.data.heard import Heard
from asd.data.manifest import load_manifest
from shards import pack
from tests.data.test_manifest import edit_manifest

STEREO = Heard(channel=0, channels=(2,), rates=(16_000,), clips_s=(1.0, 2.0), cut=False)


def packed(folder: Path, recordings: list[tuple[int, int, float]], *words: str) -> Path:
    """A set of recordings of (rate, channels, seconds)."""
    folder.mkdir(exist_ok=True)
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "machine_type", "machine_id", "split", "label"))
        for number, (rate, channels, seconds) in enumerate(recordings):
            samples = np.random.default_rng(number).integers(-900, 900, (round(seconds * rate), channels), np.int16)
            soundfile.write(folder / f"{number}.wav", samples, rate)
            table.writerow((f"{number}.wav", "fan", "1", "train", "normal"))
    source, out = str(folder / "t.csv"), folder / "set"
    assert pack.main(["--layout", "table", "--source", source, "--out", str(out), "--workers", "1", *words]) == 0
    return out


@pytest.mark.parametrize(
    ("recordings", "words", "found"),
    [
        ([(16_000, 1, 1.0)] * 2, [], {"channel": None, "channels": (1,), "rates": (16_000,)}),
        ([(16_000, 2, 1.0)], ["--channel", "1"], {"channel": 1, "channels": (2,), "rates": (16_000,)}),
        (
            [(16_000, 1, 0.5), (48_000, 4, 2.0)],
            ["--channel", "average", "--resample"],
            {"channel": "average", "channels": (1, 4), "rates": (16_000, 48_000), "clips_s": (0.5, 2.0)},
        ),
    ],
)
def test_packing_writes_down_what_it_heard(tmp_path, recordings, words, found: dict[str, Any]):
    heard = load_manifest(packed(tmp_path, recordings, *words)).file.heard
    assert heard is not None
    assert {name: getattr(heard, name) for name in found} == found


def test_a_set_of_an_older_version_says_nothing_and_is_the_same_set(tmp_path):
    out = packed(tmp_path, [(16_000, 1, 1.0)])
    before = load_manifest(out)
    edit_manifest(out, heard=None)
    after = load_manifest(out)
    assert after.file.heard is None
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        (STEREO, "channel 0 of 2"),
        (STEREO.model_copy(update={"channel": "average", "channels": (2, 8)}), "mean of 2 or 8 channels"),
        (STEREO.model_copy(update={"channel": None, "channels": (1,)}), "one channel"),
    ],
)
def test_channels_in_words(heard, words):
    assert heard.channel_in_words() == words


def test_differences_are_told():
    assert STEREO.unlike(16_000, 2, 1.0) == []
    assert STEREO.unlike(48_000, 1, 0.5) == [
        "at 48000 Hz, trained on 16000 Hz",
        "of 1 channel, trained on channel 0 of 2",
        "shorter than any clip of the set (1 s)",
    ]


@pytest.mark.parametrize("damage", [{"rates": ()}, {"channels": (0,)}, {"channel": "left"}, {"rates": (10**9,)}])
def test_nonsense_is_refused(damage):
    with pytest.raises(pydantic.ValidationError):
        Heard.model_validate(STEREO.model_dump() | damage)
