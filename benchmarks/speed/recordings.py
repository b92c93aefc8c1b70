"""Recordings for the parts that pack: a tone in noise in each, all different, in DCASE 2020 layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
CLIPS_A_MACHINE = 2000


def make_recordings(root: Path, clips: int, seconds: float) -> None:
    """Write mono PCM16 WAVs; a machine type has up to CLIPS_A_MACHINE."""
    random, clip_s = np.random.default_rng(0), np.arange(round(seconds * RATE)) / RATE
    for number in range(clips):
        machine, index = divmod(number, CLIPS_A_MACHINE)
        path = root / f"machine{machine:03d}" / "train" / f"normal_id_00_{index:08d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.2 * np.sin(2 * np.pi * random.uniform(100, 1000) * clip_s)
        noise = 0.02 * random.standard_normal(len(clip_s), dtype=np.float32)
        soundfile.write(path, tone + noise, RATE, subtype="PCM_16")
