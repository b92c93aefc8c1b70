"""One training at a time in a run folder, and what its numbers came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.errors import UserError
from asd.run_folder.lock import RunLock, WatchLock
from asd.run_folder.paths import RunFolder
from asd.run_folder.provenance import provenance


def test_a_folder_that_is_trained_in_is_refused_until_that_ends(tmp_path: Path) -> None:
    with RunLock(tmp_path / "run") as first:
        first.take()
        with RunLock(tmp_path / "run") as second, pytest.raises(UserError, match="another process is training in"):
            second.take()
    with RunLock(tmp_path / "run") as third:
        third.take()


def test_the_run_of_another_network_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim({"network": "a"}, "train: {}\n")
    folder.check({"network": "a"})
    with pytest.raises(UserError, match=r"belongs to a run with another network \(a, now b\)"):
        folder.check({"network": "b"})


def test_training_and_one_watcher_share_a_folder(tmp_path: Path) -> None:
    with RunLock(tmp_path) as training, WatchLock(tmp_path) as watcher, WatchLock(tmp_path) as another:
        training.take()
        watcher.take()
        with pytest.raises(UserError, match="another watcher is scoring"):
            another.take()


def test_an_image_knows_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_REVISION", "v1.2-3-gabc")
    assert provenance()["git_commit"] == "v1.2-3-gabc"
