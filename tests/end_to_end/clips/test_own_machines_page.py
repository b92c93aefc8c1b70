"""Every command of docs/own-machines.md, in order."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import eval as evaluation
import train_ddp
from asd.detector import read_detector
from asd.errors import UserError
from shards import cut, pack
from tests.support.clips import sound
from tests.support.sets import machine_sound

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "own-machines.md"


def run_alone(words: list[str]) -> int:
    """The example, as a program of its own, on recordings at the detector's rate."""
    paths = [path for word in words for path in (sorted(map(str, Path().glob(word))) or [word])]
    for path in filter(lambda path: path.endswith(".wav"), paths):
        soundfile.write(path, sound(25.0, 16_000), 16_000, subtype="PCM_16")
    return subprocess.run([sys.executable, DOCUMENT.parents[1] / "examples" / "onnx_detector.py", *paths]).returncode


MAINS = {
    "examples/onnx_detector.py": run_alone,
    "shards.cut": cut.main,
    "shards.pack": pack.main,
    "train_ddp.py": train_ddp.main,
    "eval.py": evaluation.main,
}


def commands_of(document: str) -> list[list[str]]:
    """The words of every `python …` and `torchrun …` line of its code blocks, in order."""
    blocks = re.findall(r"^```\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("python ")]


def test_the_walk_through_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Every command of the page as it stands there, in its order, on half a minute of sound; the training shorter."""
    root = DOCUMENT.parents[1]
    document = DOCUMENT.read_text()
    (tmp_path / "configs").symlink_to(root / "configs")
    monkeypatch.chdir(tmp_path)
    training, today = re.findall(r"^```\n(path,machine_type.*?)^```$", document, re.DOTALL | re.MULTILINE)
    recordings = tmp_path / "recordings"
    (recordings / "today").mkdir(parents=True)
    training += "pump2_bent_shaft.wav,pump,2,train,anomaly\n"  # a known fault, for configs/known_faults.yaml
    (recordings / "recordings.csv").write_text(training)
    (recordings / "today.csv").write_text(today)
    for number, row in enumerate(csv.DictReader(training.splitlines())):
        (recordings / row["path"]).parent.mkdir(exist_ok=True)
        tone = machine_sound(1.0, 25 * 44_100, np.random.default_rng(number), row["label"] == "anomaly")
        soundfile.write(recordings / row["path"], tone, 44_100, subtype="PCM_16")
    for row in csv.DictReader(today.splitlines()):
        soundfile.write(recordings / row["path"], sound(25.0, 44_100), 44_100, subtype="PCM_16")
    commands = commands_of(document)
    programs = [command[2] if command[1] == "-m" else command[1] for command in commands]
    assert programs[:4] == ["shards.cut", "shards.pack", "train_ddp.py", "eval.py"]
    for command, program in zip(commands, programs, strict=True):
        words = command[3:] if command[1] == "-m" else command[2:]
        words += ["train.epochs=1", "train.global_batch=8"] if "configs/known_faults.yaml" in words else []
        if "--false-alarms" in words:  # of half a minute of sound nothing can be said about a day
            with pytest.raises(UserError, match=r"1/day false alarms, 3 of 5 windows, .* needs 36 normal clips: "):
                MAINS[program](words)
            continue
        assert MAINS[program](words) == 0, command
    told = capfd.readouterr()
    assert "anomaly above" in told.out
    assert re.search(r"^pump/2: [01] of 1 anomalies found, 0 of 0 normal", told.err, re.MULTILINE)
    row, _ = csv.DictReader((tmp_path / "today.csv").read_text().splitlines())
    assert (row["windows"], row["remarks"]) == ("3", "resampled from 44100 Hz")
    assert (tmp_path / "plots" / "0800.png").is_file()
    usual, strict = (
        read_detector(tmp_path / f"{name}.pt").scorers[0].thresholds for name in ("detector", "detector99")
    )
    assert all(strict[own] > usual[own] for own in usual)
