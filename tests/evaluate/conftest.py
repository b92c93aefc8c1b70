"""Two scored runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ensembles import SCALES, Runs, write


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    made = Runs(tmp_path)
    for name in SCALES:
        write(made, name)
    return made
