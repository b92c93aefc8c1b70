"""Small corpora in every layout, made of short noise; the real recordings where they lie beside the project."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

REAL = Path(__file__).parents[2].parent / "shared" / "data"
RATE = 16_000

WriteWav = Callable[..., Path]


def noise(name: str, samples: int = RATE // 10, channels: int = 1) -> np.ndarray:
    """Noise that depends on the name alone, (samples, channels) int16."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.integers(-8000, 8000, (samples, channels), dtype=np.int16)


@pytest.fixture
def write_wav() -> WriteWav:
    """write_wav(path, samples=1600, channels=1, rate=16000, subtype="PCM_16", sound=None) → path"""

    def write(
        path: Path,
        samples: int = RATE // 10,
        channels: int = 1,
        rate: int = RATE,
        subtype: str = "PCM_16",
        sound: np.ndarray | None = None,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = noise(str(path), samples, channels) if sound is None else sound
        soundfile.write(path, sound, rate, subtype=subtype)
        return path

    return write


@pytest.fixture
def corpus(tmp_path: Path, write_wav: WriteWav) -> Path:
    """DCASE 2020 layout: fan 00 and 02, pump 00; 4 training, 2 normal and 2 anomalous test clips each."""
    root = tmp_path / "corpus"
    for machine_type, machine_id in (("fan", "00"), ("fan", "02"), ("pump", "00")):
        for number in range(4):
            write_wav(root / machine_type / "train" / f"normal_id_{machine_id}_{number:08d}.wav")
        for number in range(2):
            write_wav(root / machine_type / "test" / f"normal_id_{machine_id}_{number:08d}.wav")
            write_wav(root / machine_type / "test" / f"anomaly_id_{machine_id}_{number:08d}.wav")
    return root


@pytest.fixture
def mimii_corpus(tmp_path: Path, write_wav: WriteWav) -> Path:
    """MIMII layout, 8 channels: fan 00 (5 normal, 3 abnormal) and fan 02 (2 normal, 4 abnormal)."""
    root = tmp_path / "mimii"
    for machine_id, normals, abnormals in (("00", 5, 3), ("02", 2, 4)):
        for condition, count in (("normal", normals), ("abnormal", abnormals)):
            for number in range(count):
                write_wav(root / "fan" / f"id_{machine_id}" / condition / f"{number:08d}.wav", channels=8)
    return root


@pytest.fixture
def real_machines() -> Path:
    return _real("real_machines")


@pytest.fixture
def mimii_8ch() -> Path:
    return _real("mimii_8ch")


@pytest.fixture
def dcase2023_clips() -> Path:
    return _real("dcase2023_clips")


def _real(name: str) -> Path:
    if not (REAL / name).is_dir():
        pytest.skip(f"the real recordings ../shared/data/{name} are not here")
    return REAL / name
