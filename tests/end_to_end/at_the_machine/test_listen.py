"""A day at the machine, in seconds: a pipe with a fault and a dead microphone in it, a change of room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import eval as evaluation
from asd.detector.live import sources
from asd.errors import UserError
from tests.end_to_end.at_the_machine.conftest import Workshop
from tests.support.sets import SAMPLE_RATE

ROOT = Path(__file__).parents[3]
FAN = ("--machine", "fan", "--id", "00")
WORDS = (*FAN, "--alarm-when", "2/3", "--replay", "--end-after", "4")


def raw(folder: Path, gain: float = 1.0) -> bytes:
    """All recordings of a folder behind each other."""
    sounds = [soundfile.read(path, dtype="int16")[0] for path in sorted(folder.glob("*.wav"))]
    return (gain * np.concatenate(sounds)).astype("<i2").tobytes()


def listen(detector: Path, source: object, *words: object, stdin: bytes | None = None) -> list[dict[str, Any]]:
    """The events of the command, in a process of its own."""
    command = [sys.executable, "eval.py", "listen", "--detector", detector, "--source", source, *words]
    done = subprocess.run([*map(str, command)], cwd=ROOT, input=stdin, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def named(events: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] in names]


def test_the_scenario_through_a_pipe(statistics: Path, workshop: Workshop, tmp_path: Path) -> None:
    normal, fault = workshop.record("normal", 0.0, count=16), workshop.record("fault", 0.0, count=4, faulty=True)
    parts = [raw(normal), raw(fault), raw(normal), bytes(6 * 2 * SAMPLE_RATE), raw(normal)]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def play() -> None:
        with pipe.open("wb") as file:
            for part in parts:
                file.write(part)

    player = threading.Thread(target=play)
    player.start()
    odd = tmp_path / "odd"
    events = listen(statistics, pipe, *WORDS, "--keep-odd", odd, "--keep-at-most", "3")
    player.join()
    alarms = [(event["event"], event["at_s"]) for event in named(events, "alarm", "alarm_end")]
    whys = [event["why"] for event in named(events, "alarm")]
    assert all("the closest normal recording" in why for why in whys), whys
    begun = [at for name, at in alarms if name == "alarm"]
    assert any(16 < at <= 20 for at in begun), alarms
    states = [(event["input"], event["at_s"]) for event in named(events, "input")]
    assert states == [("silent", 37.0), ("ok", 43.0), ("missing", 58.0), ("ended", 58.0)]
    windows = named(events, "window")
    assert [event["at_s"] for event in windows] == [float(at) for at in range(1, 59)]
    assert all((event["score"] is None) == (event["input"] != "ok") for event in windows)
    kept = sorted(path.name for path in odd.glob("*.wav"))
    explained = [json.loads(path.read_text())["why"] for path in odd.glob("*.json")]
    assert len(explained) == 3
    assert kept == [event["kept"] for event in windows if event.get("kept")][-3:]


def test_another_gain_is_a_room_that_changed(statistics: Path, workshop: Workshop) -> None:
    normal = raw(workshop.record("normal", 0.0, count=12))
    quieter = raw(workshop.record("quieter", 0.0, count=32), gain=0.4)
    events = listen(statistics, "-", *WORDS, "--alarms-only", stdin=normal + quieter)
    assert not named(events, "window")
    (room,) = named(events, "room")
    assert room["changed"]
    assert "shifted alike" in room["words"]
    assert room["at_s"] > 12
    assert not any(event["at_s"] <= 12 for event in named(events, "room"))


def test_an_unknown_machine_is_found_out_by_windows(statistics: Path, small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "valve"
    folder.mkdir()
    for path in sorted((small_set.parent / "recordings" / "valve" / "test").glob("normal_*.wav"))[:4]:
        (folder / path.name).write_bytes(path.read_bytes())
    words = ("--machine", "auto", "--replay", "--end-after", "4")
    events = listen(statistics, "-", *words, stdin=bytes(2 * SAMPLE_RATE) + raw(folder))
    states = [(event["input"], event["machine"]) for event in named(events, "input")]
    assert states == [("silent", None), ("ok", None), ("ended", "valve/04")]
    assert {event["machine"] for event in events[2:]} == {"valve/04"}
    assert events[2]["event"] == "machine"
    assert events[2]["words"].startswith("nearest machine, ")
    assert [event["at_s"] for event in named(events, "window")] == [2.0, 3.0, 4.0, 5.0]


def test_what_cannot_be_listened_to_is_refused(statistics: Path, workshop: Workshop, tmp_path: Path) -> None:
    path = workshop.record("normal", 0.0, count=1) / "00.wav"
    cases = [
        ("--rate 8000: the detector hears 16000 Hz", ["--source", path, "--rate", "8000"]),
        ("has 16000 Hz, 1 channels", ["--source", path, "--channels", "2", "--channel", "0"]),
        ("--channels 2: name the one to hear", ["--source", path, "--channels", "2"]),
        ("--alarm-when 4/3: give hits", ["--source", path, "--alarm-when", "4/3"]),
        ("--mqtt: give mqtt://host", ["--source", path, "--mqtt", "http://x/y"]),
        ("has no scorer gmm", ["--source", path, "--scorer", "gmm"]),
        ("is a folder", ["--source", path.parent]),
        ("--keep-at-most 0", ["--source", path, "--keep-at-most", "0"]),
        ("--cool-down -1", ["--source", path, "--cool-down", "-1"]),
        ("--end-after -1: give seconds, above 0", ["--source", path, "--end-after", "-1"]),
        ("--channels 1: name the one to hear, --channel 0, or", ["--source", path, "--channel", "1"]),
    ]
    for said, words in cases:
        with pytest.raises(UserError, match=said):
            evaluation.main(["listen", "--detector", str(statistics), *FAN, *map(str, words)])


def test_an_end_is_told_whatever_it_is_by(
    statistics: Path,
    workshop: Workshop,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Too few windows to tell the machine by, none of which is scored; a file that becomes another rate's."""
    path = workshop.record("normal", 0.0, count=1, seconds=2.5) / "00.wav"
    words = ["listen", "--detector", str(statistics), "--source", str(path), "--end-after", "0.1"]
    with pytest.raises(
        UserError, match="--machine auto: 2 windows with sound came, and 3 tell the machine: nothing was"
    ):
        evaluation.main([*words, "--machine", "auto"])
    shown = capsys.readouterr()
    assert [json.loads(line)["input"] for line in shown.out.splitlines()] == ["ended"]
    assert "for the nearest machine: windows of 1 s" in shown.err
    other = tmp_path / "other.wav"
    soundfile.write(other, np.zeros(4000, np.int16), 8000)

    def become_another() -> bytes:
        if other.exists():
            other.replace(path)
        return b""

    monkeypatch.setattr(sources, "_nothing", become_another)
    with pytest.raises(UserError, match="has 8000 Hz, 1 channels"):
        evaluation.main([*words[:-1], "60", *FAN])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["input"] == "ended"
