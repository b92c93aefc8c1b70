"""A sound detector file."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.detector import (
    write_detector,
)
from tests.support.detectors import detector_file


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "detector.pt"
    write_detector(path, detector_file())
    return path
