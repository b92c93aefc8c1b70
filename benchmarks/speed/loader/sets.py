"""The same clips as recordings, and as tars of both codecs."""

from __future__ import annotations

import shutil
import tarfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import soundfile

from shards import pack

RATE = 16_000
CLIPS_A_MACHINE = 2000
SHARDS = 8  # at least: webdataset shares them out to its workers


@dataclass(frozen=True)
class Sets:
    """Where the clips lie."""

    root: Path
    samples: int  # of a clip

    def tars(self, codec: str) -> list[str]:
        return sorted(str(path) for path in (self.root / codec).glob("*.tar"))


def make_sets(root: Path, clips: int, seconds: float) -> Sets:
    """Recordings in DCASE 2020 layout, and shards of them as `shards.pack` writes them; what was there is replaced."""
    shutil.rmtree(root, ignore_errors=True)
    sets = Sets(root, round(seconds * RATE))
    make_recordings(root / "files", clips, seconds)
    shard_mib = max(1, min(32, clips * sets.samples * 2 // SHARDS >> 20))
    for codec, out in (("pcm16", "pcm"), ("flac", "flac")):
        words = f"--layout dcase2020 --codec {codec} --shard-mib {shard_mib}"
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            pack.main([*words.split(), "--source", str(root / "files"), "--out", str(root / out)])
    for path in sets.tars("flac"):
        with tarfile.open(path) as tar:
            members = [member for member in tar if member.name.endswith(".flac")]
            tar.extractall(root / "flac_files", members, filter="data")
    return sets


def make_recordings(root: Path, clips: int, seconds: float) -> None:
    """A tone in noise in each, all different, in DCASE 2020 layout; a machine type has up to CLIPS_A_MACHINE."""
    random, clip_s = np.random.default_rng(0), np.arange(round(seconds * RATE)) / RATE
    for number in range(clips):
        machine, index = divmod(number, CLIPS_A_MACHINE)
        path = root / f"machine{machine:03d}" / "train" / f"normal_id_00_{index:08d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.2 * np.sin(2 * np.pi * random.uniform(100, 1000) * clip_s)
        noise = 0.02 * random.standard_normal(len(clip_s), dtype=np.float32)
        soundfile.write(path, tone + noise, RATE, subtype="PCM_16")
