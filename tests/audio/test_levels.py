"""Levels that no sound has: said of every clip while it is packed, and once more when a set is verified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.audio.levels import cancel, has_dead_channel, level_faults
from asd.audio.recording import Target
from asd.audio.windows import Cut, open_recording
from asd.config.build import check_soundless, open_shards
from asd.data.config import DataConfig
from asd.data.manifest import load_manifest
from asd.errors import UserError
from shards import pack, verify

RATE = 16_000


def noise(seed: int, level: float = 3000.0, samples: int = RATE) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * level).clip(-32768, 32767).astype("<i2")


def sine(level: float, hertz: float) -> np.ndarray:
    return np.rint(level * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)).astype("<i2")


FAULTY: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {
    "zeros": (noise(1) * 0, ("silent",)),
    "one value": (noise(1) * 0 - 700, ("constant",)),
    "one bit": (noise(1, 0.5), ("quiet",)),
    "a few bits": (noise(1, 5), ("quiet",)),
    "a few bits and a click": (np.concatenate([noise(1, 5), [20_000] * 10]).astype("<i2"), ("quiet",)),
    "square": (np.where(noise(1) > 0, 32767, -32768).astype("<i2"), ("clipped",)),
    "2 % clipped": (noise(1, 14_000), ("clipped",)),
    "held": (np.repeat(noise(1), 4)[:RATE], ("stuck",)),
    "dropouts": (np.where(np.arange(RATE) % 4000 < 1000, noise(1), 0).astype("<i2"), ("stuck",)),
    "offset": (noise(1, 300) + np.int16(9000), ("offset",)),
    "offset of silence": (noise(1, 1) + np.int16(9000), ("quiet", "offset")),
}
FINE = {
    **{f"noise {level}": noise(2, level) for level in (20, 300, 3000, 9000)},
    **{f"sine {level} {hertz}": sine(level, hertz) for level in (40, 3000, 32_000) for hertz in (50, 123.4, 3000)},
    "a click": np.concatenate([noise(3), [20_000], noise(4)]).astype("<i2"),
    "some offset": noise(1) + np.int16(3000),
    "nothing": np.empty(0, "<i2"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faults_are_found(name: str) -> None:
    samples, faults = FAULTY[name]
    assert level_faults(samples) == faults


@pytest.mark.parametrize("name", FINE)
def test_sound_has_none(name: str) -> None:
    assert level_faults(FINE[name]) == ()


def test_channels() -> None:
    left, right = noise(1), noise(2)
    for other, dead, crossed in (
        (right, False, False),
        (left, False, False),
        (right * 0, True, False),
        (-left, False, True),
    ):
        both = np.stack([left, other], 1)
        assert (has_dead_channel(both), cancel(both)) == (dead, crossed)
    nearly = np.stack([left, (-0.9 * left + 0.1 * right).astype("<i2")], 1)
    assert cancel(nearly)
    assert not has_dead_channel(np.zeros((RATE, 2), "<i2"))
    assert not cancel(np.stack([noise(seed) for seed in range(8)], 1))


def test_a_recording_says_what_its_windows_lacked(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.concatenate([noise(1), noise(2) * 0]), RATE)
    recording = open_recording(tmp_path / "a.wav", Target(RATE))
    windows = recording.windows(Cut(RATE, RATE, RATE))
    next(windows)
    assert recording.remarks() == []
    next(windows)
    assert recording.remarks() == ["windows that are silent: every sample is 0"]


def packed(folder: Path, sound: Callable[[int], np.ndarray], *words: str, subtype: str | None = None) -> Path:
    """A set of fan/00 with such training clips, beside pump/00 with noise."""
    rows = ""
    for number in range(3):
        samples = sound(number)
        soundfile.write(folder / f"fan{number}.wav", samples, RATE, subtype)
        plain = np.stack([noise(90 + number)] * (1 if samples.ndim == 1 else samples.shape[1]), 1)
        soundfile.write(folder / f"pump{number}.wav", plain, RATE, "PCM_16")
        rows += "".join(f"{machine}{number}.wav,{machine},00,train,normal\n" for machine in ("fan", "pump"))
    (folder / "t.csv").write_text(f"path,machine_type,machine_id,split,label\n{rows}")
    words = ("--layout", "table", "--source", str(folder / "t.csv"), "--out", str(folder / "set"), *words)
    assert pack.main(words) == 0
    return folder / "set"


@pytest.mark.parametrize("codec", ["pcm16", "flac"])
def test_pack_and_verify_say_it_with_count_machine_and_first_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], codec: str
) -> None:
    some_silent = packed(tmp_path, lambda number: noise(number) * (number == 0), "--codec", codec)
    said = "warning: 2 of 6 clips are silent: every sample is 0 (fan/00 2 of 3), first: "
    assert f"{said}{tmp_path / 'fan1.wav'}" in capsys.readouterr().out
    assert load_manifest(some_silent).file.notes["levels_silent"] == 2
    assert verify.main([str(some_silent)]) == 0
    shown = capsys.readouterr().out
    assert said in shown
    assert "ok: 6 clips" in shown


@pytest.mark.parametrize(
    ("sound", "words", "said"),
    [
        (lambda number: (noise(number) / 32768 * 3e-4).astype("f4"), (), "use fewer than 64 of the 65536 levels"),
        (lambda number: noise(number, 14_000), (), "3 of 6 clips are clipped"),
        (lambda number: np.stack([noise(number), noise(9) * 0], 1), ("--channel", "0"), "channel of constant level"),
        (lambda number: np.stack([noise(number), noise(9) * 0], 1), ("--channel", "average"), "of constant level"),
        (
            lambda number: np.stack([noise(number), -noise(number) + noise(50, 90)], 1),
            ("--channel", "average"),
            "lost nearly all of their level when channels were averaged",
        ),
    ],
)
def test_what_packing_says(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sound: Callable[[int], np.ndarray],
    words: tuple[str, ...],
    said: str,
) -> None:
    subtype = "FLOAT" if sound(0).dtype == np.float32 else "PCM_16"
    packed(tmp_path, sound, *words, subtype=subtype)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if said in line]
    assert line.startswith("warning: 3 of 6 clips ")
    assert line.endswith(f"(fan/00 3 of 3), first: {tmp_path / 'fan0.wav'}")


@pytest.mark.parametrize(
    ("sound", "words", "said"),
    [
        (lambda number: noise(number) * 0, (), "are silent"),
        (lambda number: noise(number) * 0 + np.int16(5), (), "are silent but for a constant"),
        (lambda number: np.stack([noise(number), noise(9) * 0], 1), ("--channel", "1"), "are silent"),
        (lambda number: np.stack([noise(number), -noise(number)], 1), ("--channel", "average"), "are silent"),
        (lambda number: noise(number).astype("f4"), (), "were floats far beyond full scale"),
        (lambda number: (noise(number) * 256.0).astype("f4"), (), "were floats far beyond full scale"),
    ],
)
def test_machines_without_sound_are_said_and_not_trained_on(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sound: Callable[[int], np.ndarray],
    words: tuple[str, ...],
    said: str,
) -> None:
    shards = packed(tmp_path, sound, *words, subtype="FLOAT" if sound(0).dtype == np.float32 else "PCM_16")
    shown = capsys.readouterr().out
    first = tmp_path / "fan0.wav"
    assert f"warning: 3 of 6 clips {said}" in shown
    assert f"WARNING: no training clip of fan/00 has sound: training refuses this set, first: {first}" in shown
    data = DataConfig(shards=str(shards))
    with pytest.raises(UserError, match=r"no training clip of fan/00 has sound \(.*other data\.machine_types"):
        check_soundless(open_shards(data))
    check_soundless(open_shards(data.model_copy(update={"machine_types": ("pump",)})))
