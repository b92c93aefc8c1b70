"""`python eval.py report …`, as it stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.launch import ROOT
from tests.support.official_files import make


def report(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "eval.py", "report", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | (env or {}), capture_output=True, text=True)


def test_a_submission_is_reported_without_torch(tmp_path: Path) -> None:
    made = make(tmp_path, "dcase2022", line_end="\r\n")
    (tmp_path / "torch.py").write_text("raise ImportError('not needed here')\n")
    words = (
        "--layout",
        "dcase2022",
        "--scores",
        made.scores,
        "--ground-truth",
        made.truth,
        "--json",
        tmp_path / "r.json",
    )
    done = report(*words, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    numbers = json.loads((tmp_path / "r.json").read_text())
    assert 0.5 < numbers["official_score"] < 1.0
    assert f"({numbers['official_score']!r})" in done.stdout
    assert "harmonic mean" in done.stdout


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    made = make(tmp_path, "dcase2020")
    with made.score_file().open("a") as handle:
        handle.write("id_00_99999999.wav,0.5\n")
    done = report("--layout", "dcase2020", "--scores", made.scores, "--ground-truth", made.truth)
    assert done.returncode == 2
    assert done.stdout == ""
    expected = "anomaly_score_fan_id_00.csv: 1 names are not in the ground truth (id_00_99999999.wav)\n"
    assert done.stderr == f"error: {made.scores}/{expected}"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--layout", "dcase2019"), "error: no official rule for layout 'dcase2019': it must be one of dcase2020, "),
        (("--layout", "dcase2023"), "error: --scores nowhere is not a folder"),
        (("--layout", "dcase2023", "train.epochs=1"), "error: unrecognized arguments: train.epochs=1"),
        (("--layout", "dcase2023", "--seed", "1"), "error: unrecognized arguments: --seed 1"),
        ((), "error: the following arguments are required: --layout"),
    ],
)
def test_wrong_words_are_one_line(words: tuple[str, ...], complaint: str) -> None:
    done = report(*words, "--scores", "nowhere", "--ground-truth", "names")
    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
