"""What both sides of part public_code read: the same clips as files and as shards, and a large set of short clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.results.runs import make_factory
from shards import pack
from shards.synth.clip import Clip
from shards.synth.layouts import LAYOUTS, MACHINE_IDS_2020

LAYOUT = "dcase2020"
SAMPLE_RATE = 16_000
CLASSES = [(machine_type, number) for machine_type, ids in MACHINE_IDS_2020.items() for number in ids]
SHORT_S = 0.1  # seconds of a clip of the large set: what is read before the first step does not depend on it


@dataclass(frozen=True)
class Sets:
    """Folders."""

    recordings: Path
    shards: Path  # of the same clips
    many: Path  # shards of very many short ones


def make_sets(work: Path, train_clips: int, clip_s: float, many: int) -> Sets:
    """The sets, made where they are not there yet; train_clips are of each class."""
    same = work / f"same_{train_clips}x{clip_s:g}"
    shards = make_factory(same, {"clip_s": clip_s, "train_clips": train_clips, "test_clips": 1})
    large = work / f"many_{many}"
    if not (large / "shards" / "manifest.json").is_file():
        write_short(large / "recordings", many)
        pack.main(["--layout", LAYOUT, "--source", str(large / "recordings"), "--out", str(large / "shards")])
    return Sets(same / "factory", shards, large / "shards")


def write_short(root: Path, count: int) -> None:
    """Noise under the names of DCASE 2020, spread over its classes; one clip of each class is for testing."""
    rng = np.random.default_rng(0)
    for index in range(count):
        machine_type, number = CLASSES[index % len(CLASSES)]
        role = "anomaly" if index < len(CLASSES) else "train"
        path = root / LAYOUTS[LAYOUT].path(Clip(0, machine_type, number, role, index))
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(-3000, 3000, round(SHORT_S * SAMPLE_RATE), dtype=np.int16)
        soundfile.write(path, noise, SAMPLE_RATE, subtype="PCM_16")
