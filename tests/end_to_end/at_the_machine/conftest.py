"""A detector of four machines by statistics of clips, and recordings of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.clips import exported
from tests.support.sets import SAMPLE_RATE, machine_sound


@pytest.fixture(scope="session")
def statistics(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four machines, clips of 1 s at 16 kHz; the primary scorer is fused, of statistics."""
    return exported(small_set, tmp_path_factory.mktemp("statistics"), "measures")


class Workshop:
    """Recordings of a machine that stands anywhere and sounds like anything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(
        self, name: str, index: float, count: int = 12, seconds: float = 1.0, faulty: bool = False, hum: float = 0.0
    ) -> Path:
        """A folder of recordings of the machine with this index (of tests.support.sets), hum: level at 1.5 kHz."""
        place = self.folder / name
        place.mkdir()
        for number in range(count):
            random = np.random.default_rng([number, len(name), int(100 * index)])
            sound = machine_sound(index, round(seconds * SAMPLE_RATE), random, faulty)
            time = np.arange(len(sound)) / SAMPLE_RATE
            sound += hum * np.sin(2 * np.pi * 1500 * time + number)
            soundfile.write(place / f"{number:02d}.wav", np.clip(sound, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        return place


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)
