"""The five commands of docs/at-the-machine.md, as they stand there, on real recordings and on a synthetic machine."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import eval as evaluation
import train_ddp
from asd.errors import UserError
from shards import cut, pack
from shards.synth.clip import Clip, render_with
from shards.synth.faults import clogging
from tests.support.inline import score_inline

ROOT = Path(__file__).resolve().parents[3]
MOTORS = ROOT.parent / "shared" / "data" / "real_machines"
RATE, WINDOW_S = 16_000, 2
MAINS = {"shards.cut": cut.main, "shards.pack": pack.main, "train_ddp.py": train_ddp.main, "eval.py": evaluation.main}
Sound = list[np.ndarray]  # recordings of 10 s, (T,) int16


@dataclass(frozen=True)
class Machine:
    """What was recorded of a machine."""

    train: Sound
    normal: Sound
    fault: Sound


def real_motor() -> Machine:
    """Brushless motor 01: five recordings to train with, three at other speeds, six with a damaged propeller."""
    if not (MOTORS / "manifest.csv").is_file():
        pytest.skip("the real recordings ../shared/data/real_machines are not here")
    with (MOTORS / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["machine"], row["id"]) == ("bldc", "01")]
    parts: dict[tuple[str, str], Sound] = {}
    for place in sorted({row["source_path"] for row in rows}):
        clips = sorted((row for row in rows if row["source_path"] == place), key=lambda row: float(row["start_s"]))
        sound = np.concatenate([soundfile.read(MOTORS / row["path"], dtype="int16")[0] for row in clips])
        parts.setdefault((clips[0]["split"], clips[0]["label"]), []).append(sound)
    return Machine(parts["train", "normal"], parts["test", "normal"], parts["test", "anomaly"])


def synthetic_fan() -> Machine:
    """As many recordings of a fan of shards.synth, whose fault is as bad as it can be."""

    def recorded(role: str, count: int) -> Sound:
        fault = (clogging, 1.0) if role == "anomaly" else None
        clips = [Clip(0, "fan", 0, role, index) for index in range(count)]
        return [(32767 * render_with(clip, fault, 10.0, 10.0)).astype(np.int16) for clip in clips]

    return Machine(recorded("train", 5), recorded("normal", 3), recorded("anomaly", 6))


def in_the_room(sound: np.ndarray) -> np.ndarray:
    """At a fifth of the level, with an echo: the microphone was moved."""
    echo = np.concatenate([np.zeros(RATE // 25, np.int16), sound[: -RATE // 25]])
    return np.rint(0.2 * sound + 0.12 * echo).astype(np.int16)


class Page:
    """The commands of the page with what a user changes in them."""

    def __init__(self, clip_s: int) -> None:
        page = (ROOT / "docs" / "at-the-machine.md").read_text(encoding="utf-8")
        block = re.search(r"^```\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        assert block is not None
        self.commands = [line.replace("--seconds 10", f"--seconds {clip_s}") for line in block[1].splitlines()]
        (self.table,) = re.findall(r"^```\n(path,machine_type.*?\n)", page, re.MULTILINE)

    def words(self, number: int) -> list[str]:
        """Those of a command, from its program on."""
        words = shlex.split(self.commands[number].rpartition(" | ")[2])
        assert words.pop(0) == "python"
        return words[1:] if words[0] == "-m" else words

    def run(self, number: int, **replaced: str) -> None:
        program, *words = self.words(number)
        assert MAINS[program]([replaced.get(word, word) for word in words]) == 0


def set_up(folder: Path, machine: Machine, header: str) -> None:
    """A user's folder of recordings and their table."""
    (folder / "configs").symlink_to(ROOT / "configs")
    place = folder / "recordings"
    place.mkdir()
    lines = [header]
    kinds = (("train,normal", machine.train), ("test,normal", machine.normal), ("test,anomaly", machine.fault))
    for kind, sounds in kinds:
        for sound in sounds:
            name = f"{len(lines):02d}.wav"
            soundfile.write(place / name, sound, RATE, subtype="PCM_16")
            lines.append(f"{name},pump,1,{kind}\n")
    (place / "recordings.csv").write_text("".join(lines))


def train(page: Page) -> None:
    """The first four commands. The budget of the page is refused, and the one that is named in its place is taken."""
    for number in range(3):
        page.run(number)
    budget = "1/day"
    while True:
        try:
            page.run(3, **{"1/day": budget})
        except UserError as refusal:
            (named,) = re.findall(r"normal clips: .* enough for ([\d.]+/day)", str(refusal))
            assert float(named.split("/")[0]) > float(budget.split("/")[0]), refusal
            budget = named
        else:
            assert budget != "1/day", "so few recordings support it"
            return


def play(pipe: Path, writers: Sequence[Sequence[np.ndarray]], gone: Callable[[], None]) -> None:
    """Each writer opens the pipe, writes and goes; gone: waits for what is seen of that."""
    for sounds in writers:
        with pipe.open("wb") as file:
            for sound in sounds:
                file.write(sound.tobytes())
        gone()


def listen(folder: Path, words: list[str], writers: Sequence[Sequence[np.ndarray]]) -> list[dict[str, Any]]:
    """The events of the fifth command, which hears a named pipe in the place of the recorder."""
    pipe, missing = folder / "microphone", threading.Semaphore(0)
    os.mkfifo(pipe)
    words = [{"-": str(pipe)}.get(word, word) for word in words]
    command = [sys.executable, ROOT / words[0], *words[1:], "--replay", "--end-after", "8"]
    events = []
    with subprocess.Popen([*map(str, command)], cwd=folder, stdout=subprocess.PIPE) as process:
        player = threading.Thread(target=play, args=(pipe, writers, missing.acquire), daemon=True)
        player.start()
        assert process.stdout is not None
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["input"] == "missing":
                missing.release()
    assert process.returncode == 0
    player.join()
    return events


@pytest.mark.parametrize("machine", [real_motor, synthetic_fan])
def test_from_recordings_to_a_live_alarm(
    machine: Callable[[], Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, recorded = Page(WINDOW_S), machine()
    set_up(tmp_path, recorded, page.table)
    monkeypatch.chdir(tmp_path)
    score_inline(monkeypatch)
    train(page)
    normal, fault = np.concatenate(recorded.normal), np.concatenate(recorded.fault)[: 10 * WINDOW_S * RATE]
    dead, moved = np.zeros(5 * WINDOW_S * RATE, np.int16), in_the_room(np.tile(normal, 3))
    parts = {"normal": normal, "fault": fault, "normal again": normal, "moved": moved, "dead": dead, "back": normal}
    sounds = [sound.astype("<i2") for sound in parts.values()]
    ends = np.cumsum([len(sound) for sound in sounds]) / RATE
    events = listen(tmp_path, page.words(4), [sounds[:-1], sounds[-1:]])
    heard_in = [[*parts][int(np.searchsorted(ends, event["at_s"]))] for event in events]

    windows = [(event, part) for event, part in zip(events, heard_in, strict=True) if event["event"] == "window"]
    assert [part for _, part in windows] == [
        part for part, sound in parts.items() for _ in range(len(sound) // (WINDOW_S * RATE))
    ]
    assert all((event["score"] is None) == (part == "dead") for event, part in windows)
    states = [(event["input"], part) for event, part in zip(events, heard_in, strict=True) if event["event"] == "input"]
    assert states == [
        ("silent", "dead"), ("missing", "dead"), ("ok", "dead"), ("missing", "back"), ("ended", "back"),
    ]  # fmt: skip
    told = [(event["event"], part) for event, part in zip(events, heard_in, strict=True)]
    told = [(name, part) for name, part in told if name not in ("window", "input")]
    assert told[:2] == [("alarm", "fault"), ("alarm_end", "normal again")]
    alarms = [event for event in events if event["event"] in ("alarm", "alarm_end")]
    assert all("the closest normal recording" in event["why"] for event in alarms if event["event"] == "alarm")
    room = next(event for event in events if event["event"] == "room")
    assert (room["changed"], told[[name for name, _ in told].index("room")]) == (True, ("room", "moved"))
    assert not any(event["room_changed"] for event in alarms if event["at_s"] < room["at_s"])
    later = [event for event in alarms if room["at_s"] < event["at_s"] <= ends[-2] + WINDOW_S]
    assert later, "the room was moved: alarms are not held back"
    assert all(event["room_changed"] for event in later)
