"""train.profile on two ranks, and refusals of what does not come."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.hooks import no_scoring
from tests.support.launch import losses, run, succeed, train_words


def test_one_rank_of_two_is_traced_and_the_losses_stay(small_set: Path, tmp_path: Path) -> None:
    found = []
    for name, words in {"plain": [], "traced": ["train.profile={start: 2, steps: 2, ranks: [1]}"]}.items():
        folder = tmp_path / name
        succeed(tmp_path / f"log_{name}", train_words(small_set, folder, *words), ranks=2, prepare=no_scoring)
        found.append(losses(folder))
    assert found[0] == found[1]
    assert sorted(path.name for path in (folder / "profile").iterdir()) == [
        "rank_1_from_step_2.json.gz",
        "rank_1_from_step_2.txt",
    ]


@pytest.mark.parametrize(
    ("profile", "line"),
    [
        ("{start: 8, steps: 3}", "train.profile asks for steps 9 to 11 of 10: lower train.profile.start or steps"),
        ("{start: 1, ranks: [0, 2]}", "train.profile.ranks names rank 2, and there are 2, counted from 0"),
    ],
)
def test_what_does_not_come_is_refused(small_set: Path, tmp_path: Path, profile: str, line: str) -> None:
    done = run(tmp_path / "log", train_words(small_set, tmp_path / "run", f"train.profile={profile}"), ranks=2)
    assert done.codes == [2, 2] and line in done.err[0]
    assert not (tmp_path / "run").exists()
