"""eval.py clips on recordings as people have them: long, of other rates and channels, unreadable."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import eval as evaluation
from asd.audio.recording import Target
from asd.audio.windows import Cut, open_recording
from asd.errors import UserError
from tests.support.clips import clips, judged, make_run, sound
from tests.support.sets import SAMPLE_RATE


def test_long_recordings_are_heard_in_windows(detector: Path, tmp_path: Path) -> None:
    long = sound(4.5)
    soundfile.write(tmp_path / "long.wav", long, SAMPLE_RATE, subtype="PCM_16")
    pcm, _ = soundfile.read(tmp_path / "long.wav", dtype="int16")
    begins = [0.0, 1.0, 2.0, 3.0, 3.5]
    (tmp_path / "parts").mkdir()
    for begin in begins:
        piece = pcm[round(begin * SAMPLE_RATE) :][:SAMPLE_RATE]
        soundfile.write(tmp_path / "parts" / f"{begin}.wav", piece, SAMPLE_RATE, subtype="PCM_16")
    words = ["--detector", detector, "--machine", "pump", "--scorer", "knn"]
    (whole,) = judged(tmp_path / "a.json", *words, tmp_path / "long.wav")["clips"]
    parts = judged(tmp_path / "b.json", *words, tmp_path / "parts")["clips"]
    assert [window["begin_s"] for window in whole["timeline"]] == begins
    scores = [window["score"] for window in whole["timeline"]]
    np.testing.assert_allclose(scores, [clip["score"] for clip in parts], rtol=1e-5, atol=1e-7)
    assert whole["score"] == pytest.approx(np.mean(scores))
    assert whole["windows_above"] == sum(score > whole["threshold"] for score in scores)
    half = judged(tmp_path / "c.json", *words, tmp_path / "long.wav", "--window", "0.5", "--overlap", "0.5")
    assert [w["begin_s"] for w in half["clips"][0]["timeline"]] == pytest.approx(np.arange(17) / 4)


def test_windows_do_not_lie_in_memory_together(tmp_path: Path) -> None:
    path = tmp_path / "day.wav"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros(SAMPLE_RATE * 10, dtype=np.int16))
    recording = open_recording(path, Target(SAMPLE_RATE, "average"))
    sizes = [len(w.samples) for w in recording.windows(Cut(SAMPLE_RATE, SAMPLE_RATE, SAMPLE_RATE))]
    assert sizes == [SAMPLE_RATE] * 600


def test_other_rates_and_channels_are_brought_to_the_detectors(detector: Path, tmp_path: Path, capfd: Any) -> None:
    whole = np.rint(sound(1.0) * 32767).astype(np.int16)
    soundfile.write(tmp_path / "plain.wav", whole, SAMPLE_RATE, subtype="PCM_16")
    both = np.stack([whole, whole], axis=1)
    soundfile.write(tmp_path / "both.flac", both, SAMPLE_RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "wide.wav", sound(1.0), SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "fast.wav", sound(1.0, 44_100), 44_100, subtype="PCM_24")
    words = ["--detector", detector, tmp_path, "--machine", "pump", "--scorer", "centroid"]
    alone = judged(tmp_path / "first.json", *words, code=1)["clips"]
    assert "it has 2 channels, trained on one channel" in alone[0]["error"]
    found = judged(tmp_path / "out.json", *words, "--channel", "average")["clips"]
    both, fast, plain, wide = found
    assert [Path(clip["file"]).name for clip in found] == ["both.flac", "fast.wav", "plain.wav", "wide.wav"]
    assert both["remarks"] == ["mean of 2 channels", "of 2 channels, trained on one channel"]
    assert fast["remarks"] == ["resampled from 44100 Hz", "at 44100 Hz, trained on 16000 Hz"]
    assert both["score"] == pytest.approx(plain["score"], rel=1e-6)
    assert wide["score"] == pytest.approx(plain["score"], rel=1e-2)
    said = capfd.readouterr().err
    assert "1 of 4 recordings: resampled from 44100 Hz" in said
    only = judged(tmp_path / "second.json", *words, "--channel", "1", code=1)["clips"]
    assert [clip["error"] for clip in only] == [None, *["it has 1 channel, numbered from 0"] * 3]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_window_is_the_same_wherever_it_is_read(tmp_path: Path, suffix: str) -> None:
    """Of a recording at another rate, but for the ends of the window, where it is resampled on its own."""
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound(3.0, 44_100), 44_100, subtype="PCM_16")
    recording = open_recording(path, Target(SAMPLE_RATE))
    (whole,) = recording.windows(Cut(48_000, 48_000, 48_000))
    windows = list(recording.windows(Cut(20_000, 20_000, 20_000)))
    assert [len(window.samples) for window in windows] == [20_000] * 3
    for window in windows:
        begin = round(window.begin_s * SAMPLE_RATE)
        inner = slice(50, -50)
        expected = whole.samples[begin : begin + 20_000][inner].astype(float)
        lag = np.abs(window.samples[inner].astype(float) - expected).max()
        assert lag < 0.05 * np.abs(expected).max()  # it begins on a sample of the recording's: up to 1/44100 s early


def test_what_cannot_be_read_is_counted_and_the_rest_judged(detector: Path, tmp_path: Path, capfd: Any) -> None:
    soundfile.write(tmp_path / "good.wav", sound(1.0), SAMPLE_RATE, subtype="PCM_16")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound")
    cut_short = (tmp_path / "good.wav").read_bytes()[:9_000]
    (tmp_path / "short.wav").write_bytes(cut_short)
    (tmp_path / "notes.txt").write_text("not looked at")
    words = ["--detector", detector, "--machine", "pump", tmp_path]
    found = {Path(c["file"]).name: c for c in judged(tmp_path / "out.json", *words, code=1)["clips"]}
    assert set(found) == {"good.wav", "empty.wav", "text.wav", "short.wav"}
    assert found["good.wav"]["score"] is not None
    assert found["empty.wav"]["error"] == "the file is empty"
    assert "bytes of samples" in found["short.wav"]["error"]
    assert all(clip["decision"] is None for name, clip in found.items() if name != "good.wav")
    assert "3 of 4 recordings have no score, first:" in capfd.readouterr().err
    assert clips(*words) == 1
    table = capfd.readouterr().out
    assert [table.count(word) for word in ("not judged", "unreadable", "missing")] == [3, 2, 1]


def test_too_short_a_recording_says_so(uneven_set: Path, tmp_path: Path) -> None:
    run = make_run(uneven_set, tmp_path / "run", "rebuilds")
    assert evaluation.main(["export", "--run", str(run), "--out", str(tmp_path / "d.pt")]) == 0
    for seconds in (0.05, 0.4):
        soundfile.write(tmp_path / f"{seconds}.wav", sound(seconds), SAMPLE_RATE, subtype="PCM_16")
    words = ["--detector", tmp_path / "d.pt", "--machine", "pump", tmp_path / "0.05.wav", tmp_path / "0.4.wav"]
    short, enough = judged(tmp_path / "out.json", *words, code=1)["clips"]
    assert "a clip gives 2 frames and a window has 5" in short["error"]
    assert enough["error"] is None


def test_csv_json_and_pictures(detector: Path, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a,$b[red].wav", sound(2.5), SAMPLE_RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "in" / "overview.wav", sound(2.5, anomalous=True), SAMPLE_RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "in" / "short.wav", sound(1.0), SAMPLE_RATE, subtype="PCM_16")
    words = ["--detector", detector, "--machine", "pump", "--id", "00", tmp_path / "in"]
    assert clips(*words, "--format", "csv", "--plot", tmp_path / "plots") == 0
    rows = list(csv.DictReader(capfd.readouterr().out.splitlines()))
    assert [Path(row["file"]).name for row in rows] == ["a,$b[red].wav", "overview.wav", "short.wav"]
    assert [row["windows"] for row in rows] == ["3", "3", "1"]
    assert float(rows[2]["score"]) >= 0
    drawn = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert drawn == ["a,$b[red].png", "overview-2.png", "overview.png"]
    assert all((tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG") for name in drawn)
    assert clips(*words, "--format", "json") == 0
    assert json.loads(capfd.readouterr().out)["scorer"] == "softmax"
    assert clips(*words) == 0
    assert "a,$b[red].wav" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--machine", "fan"], "name the machine: --machine fan --id 00"),
        (["--machine", "lathe"], "has no such machine"),
        (["--machine", "pump", "--scorer", "gmn"], "has no scorer gmn: it has softmax"),
        (["--machine", "pump", "--overlap", "1"], "--overlap 1"),
        (["--machine", "pump", "--window", "0"], "--window 0"),
        (["--machine", "pump", "--channel", "left"], "--channel 'left' is no number from 0"),
        (["--machine", "pump", "nowhere.wav"], "there is no file or folder nowhere.wav"),
    ],
)
def test_mistakes_are_told(detector: Path, small_set: Path, words: list[str], said: str) -> None:
    place = small_set.parent / "recordings" / "pump" / "test"
    with pytest.raises(UserError, match=re.escape(said)):
        clips("--detector", detector, place, *words)


def test_a_folder_without_recordings_is_told(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no recordings"):
        clips("--detector", detector, "--machine", "pump", tmp_path)


def test_results_that_cannot_be_written_are_refused_before_any_work(
    detector: Path, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", sound(0.9), SAMPLE_RATE)
    (tmp_path / "notes").write_text("x")
    words = ("--detector", detector, tmp_path / "a.wav", "--machine", "fan", "--id", "00")
    with pytest.raises(UserError, match=r"--plot .*notes is a file: name a folder for the pictures"):
        clips(*words, "--plot", tmp_path / "notes")
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path / "closed")
    for option, name in (("--out", "closed/today.csv"), ("--plot", "closed")):
        with pytest.raises(UserError, match=rf"{option} \S+: nothing can be written in \S+/closed: make it writable"):
            clips(*words, option, tmp_path / name)
    assert capfd.readouterr().out == ""
