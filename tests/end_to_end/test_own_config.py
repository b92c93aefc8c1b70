"""A checkpoint is scored and exported by the config that it was trained with, whatever stands elsewhere by now."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import eval as evaluation
from asd.detector import read_detector
from asd.errors import UserError
from asd.metrics import read_scores
from tests.end_to_end.test_watch import watch_inline
from tests.support.inline import score_run
from tests.support.launch import without_heads


@pytest.fixture
def edited(run2022: Path, tmp_path: Path) -> Path:
    """A run whose config.yaml says another frontend and another scale by now, which fit its weights."""
    folder = shutil.copytree(run2022, tmp_path / "run")
    text = (folder / "config.yaml").read_text()
    for key, value in (("n_fft", 512), ("scale", 1.0)):
        text, found = re.subn(rf"^  {key}: .*$", f"  {key}: {value}", text, flags=re.MULTILINE)
        assert found == 1
    (folder / "config.yaml").write_text(text)
    return folder


def test_scores_are_those_of_the_config_that_was_trained(run2022: Path, edited: Path, tmp_path: Path) -> None:
    outs = ((run2022, tmp_path / "own"), (edited, tmp_path / "other"))
    own, other = (read_scores(score_run(run, out) / "scores.csv") for run, out in outs)
    assert own.scores.keys() == other.scores.keys()
    for scorer, scores in own.scores.items():
        assert scores.tolist() == other.scores[scorer].tolist()


def test_a_detector_hears_as_the_checkpoint_did(edited: Path, tmp_path: Path) -> None:
    assert evaluation.main(["export", "--run", str(edited), "--out", str(tmp_path / "detector.pt")]) == 0
    system = read_detector(tmp_path / "detector.pt").system
    assert (system.frontend.n_fft, system.loss.scale) == (1024, 30.0)


def test_a_watcher_passes_over_what_is_another_systems(edited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(edited / "evaluations")
    watch_inline(edited, "evaluate.by_watcher=true")
    lines = [line for line in without_heads(capsys.readouterr().err).splitlines() if line.startswith("warning: ")]
    assert len(lines) == 2
    for line in lines:
        assert "belongs to a run with another frontend.n_fft (1024, now 512), loss.scale (30.0, now 1.0)" in line
    assert not list(edited.glob("evaluations/*/report.json"))


@pytest.mark.parametrize("word", ["loss.scale=16", "data.val_fraction=0.3", "windows={frames: 8, hop: 4}"])
@pytest.mark.parametrize("command", ["score", "watch", "export"])
def test_no_word_changes_what_was_learnt(run2022: Path, tmp_path: Path, command: str, word: str) -> None:
    words = [command, "--run", str(run2022), *(["--out", str(tmp_path / "out")] if command != "watch" else []), word]
    key = word.partition("=")[0]
    with pytest.raises(UserError, match=rf"another {key} \(.*, now .*\), which no word of eval.py changes"):
        evaluation.main(words)
    assert not (tmp_path / "out").exists()
