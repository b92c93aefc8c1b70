"""Which checkpoints are removed, and what killed processes left."""

from __future__ import annotations

import shutil
from pathlib import Path

from asd.run_folder import checkpoint, pruning
from asd.run_folder.checkpoint import CheckpointConfig
from tests.support.checkpoints import payload


def steps_after(root: Path, config: CheckpointConfig, protected: tuple[int, ...] = ()) -> list[int]:
    for step in range(100, 1100, 100):
        checkpoint.save(root, step, payload(size=2))
    pruning.prune(root, config, protected)
    left = sorted(p.name for p in root.iterdir())
    assert left == [f"step_{s:08d}" for s in checkpoint.complete_steps(root)]
    return checkpoint.complete_steps(root)


def test_the_last_two_are_kept(tmp_path):
    assert steps_after(tmp_path, CheckpointConfig()) == [900, 1000]


def test_the_protected_and_every_nth_are_kept(tmp_path):
    config = CheckpointConfig(keep_last=1, keep_every_steps=400)
    assert steps_after(tmp_path, config, protected=(300, 555)) == [300, 400, 800, 1000]


def test_an_incomplete_checkpoint_does_not_count_as_one_of_the_last(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, payload(size=2))
    (tmp_path / "step_00000003" / "COMPLETE").unlink()
    pruning.prune(tmp_path, CheckpointConfig(), ())
    assert checkpoint.complete_steps(tmp_path) == [1, 2]


def test_what_dead_saves_left_is_removed(tmp_path):
    checkpoint.save(tmp_path, 1, payload())
    shutil.copytree(tmp_path / "step_00000001", tmp_path / ".partial_step_00000002_77")
    pruning.remove_partial(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]


def test_what_a_dead_removal_left_is_removed_but_no_save_that_may_be_under_way(tmp_path, capsys):
    for name in ("step_00000001", "step_00000002", "step_00000003"):
        checkpoint.save(tmp_path, int(name[-1]), payload(size=2))
    (tmp_path / "step_00000003" / "COMPLETE").unlink()
    shutil.copytree(tmp_path / "step_00000001", tmp_path / ".partial_removed_step_00000000")
    (tmp_path / ".partial_step_00000004_77").mkdir()
    pruning.prune(tmp_path, CheckpointConfig(keep_last=1), ())
    left = [".partial_step_00000004_77", "step_00000002", "step_00000003"]
    assert sorted(p.name for p in tmp_path.iterdir()) == left
    assert capsys.readouterr().err == ""


def test_of_a_checkpoint_that_was_moved_to_another_disk_the_link_is_removed(tmp_path):
    root, elsewhere = tmp_path / "checkpoints", tmp_path / "elsewhere"
    for step in (1, 2):
        checkpoint.save(root, step, payload(size=2))
    (root / "step_00000001").rename(elsewhere)
    (root / "step_00000001").symlink_to(elsewhere)
    pruning.prune(root, CheckpointConfig(keep_last=1), ())
    assert [path.name for path in root.iterdir()] == ["step_00000002"]
    assert checkpoint.is_complete(elsewhere)
