"""What `make demo` would do again, and what not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_renewed_environment_makes_no_factory_again(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = ["requirements.txt", "data/demo/factory-0", "data/demo/shards-0/manifest.json", ".venv/.ready"]  # by age
    for age, name in enumerate(made):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("factory-0") else path.touch()
        os.utime(path, (1e9 + age, 1e9 + age))
    assert "-m asd.sweep" in (again := would_do(tmp_path))
    assert "-m shards." not in again
    (tmp_path / made[1]).rmdir()
    assert "-m shards.synth" in would_do(tmp_path)


def would_do(folder: Path) -> str:
    return subprocess.run(["make", "-n", "demo"], cwd=folder, capture_output=True, text=True, check=True).stdout
