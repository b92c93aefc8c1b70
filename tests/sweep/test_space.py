"""What a search may try, and what it refuses to."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from asd.errors import UserError
from asd.sweep.space import read_space

SPACE = """\
optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
backbone.width: [8, 16]
train.epochs: {low: 2, high: 4}
train.ema: [null, 0.99]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


def test_a_trial_sets_every_setting_within_its_range(tmp_path: Path) -> None:
    space, study = read_space(written(tmp_path, SPACE)), optuna.create_study()
    for _ in range(20):
        words = dict(word.split("=") for word in space.suggest(study.ask()))
        assert list(words) == ["optim.lr", "backbone.width", "train.epochs", "train.ema"]
        assert 1e-4 <= float(words["optim.lr"]) <= 1e-2
        assert words["backbone.width"] in ("8", "16") and words["train.epochs"] in ("2", "3", "4")
        assert words["train.ema"] in ("null", "0.99")


def test_the_ends_of_every_range_are_tried_before_any_trial(tmp_path: Path) -> None:
    ends = read_space(written(tmp_path, SPACE)).ends()
    assert len(ends) == 8
    assert {word for words in ends for word in words} == {
        "optim.lr=0.0001", "optim.lr=0.01", "backbone.width=8", "backbone.width=16", "train.epochs=2", "train.epochs=4",
        "train.ema=null", "train.ema=0.99",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optim.lr: {low: 1, high: 1}", "optim.lr: give a range, .*low=1 must be below high=1"),
        ("optim.lr: {low: 0, high: 1, log: true}", "with log, low=0 must be above 0"),
        ("optim.lr: [0.1]", r"optim.lr: give a range, such as \{low.*or two values or more, such as \[8, 16\]"),
        ("optim.lr: 0.1", "optim.lr: give a range"),
        ("{}", "it: give a range"),
        ("[1, 2]", "it: give a range"),
        ("a: b: c", "is not yaml: mapping values are not allowed here"),
    ],
)
def test_what_is_no_range_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_space(written(tmp_path, text))
