"""Recordings to pack: a synthesised factory in DCASE 2020 layout, and larger ones made of its clips."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
CLIP_S = 10
CLIPS_A_MACHINE = 200


def synthesise(out: Path, clips_a_unit: int, clip_s: float = CLIP_S) -> tuple[int, float]:
    """A factory by the command itself: `clips_a_unit` training clips and two test clips of every unit.

    Returns (clips, seconds).
    """
    words = f"--train-clips {clips_a_unit} --test-clips 1 --clip-s {clip_s:g}".split()
    command = [sys.executable, "-m", "shards.synth", "--out", str(out), *words]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return len(list(out.rglob("*.wav"))), time.perf_counter() - begin


def multiply(factory: Path, out: Path, clips: int) -> Path:
    """So many different clips in one machine type after the other: those of a factory, turned round by some samples."""
    if out.is_dir() and len(list(out.rglob("*.wav"))) == clips:
        return out
    sounds = [soundfile.read(path, dtype="int16")[0] for path in sorted(factory.rglob("*.wav"))]
    for number in range(clips):
        round_, which = divmod(number, len(sounds))
        path = out / _name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.roll(sounds[which], 1009 * round_), RATE, subtype="PCM_16")
    return out


def _name(number: int) -> str:
    """Two clips of three train."""
    machine, index = divmod(number, CLIPS_A_MACHINE)
    split = "test" if index % 3 == 2 else "train"
    return f"machine{machine:03d}/{split}/normal_id_00_{index:08d}.wav"
