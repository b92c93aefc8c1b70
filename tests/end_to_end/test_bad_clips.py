"""Clips that cannot be read while training: counted and shown up to a limit, then a reason to stop."""

from __future__ import annotations

import shutil
from pathlib import Path

from asd.data.manifest import load_manifest
from asd.data.splits import make_splits
from tests.end_to_end.test_bad_input import refused
from tests.support.hooks import no_scoring
from tests.support.launch import losses, records, run, succeed, train_words

WORDS = ["train.max_bad_fraction=0.05", "train.epochs=4"]  # 4 of 92 clips


def damage(flac_set: Path, shards: Path, count: int) -> None:
    """A copy of the set in which `count` training clips are no FLAC any more."""
    shutil.copytree(flac_set, shards)
    manifest = load_manifest(shards)
    for clip in make_splits(manifest, seed=0, val_fraction=0.05).train[:count]:
        shard, offset, size = (int(manifest.column(name)[clip]) for name in ("shard", "offset", "size"))
        with (shards / manifest.file.shards[shard].file).open("r+b") as tar:
            tar.seek(offset)
            tar.write(b"?" * size)


def test_a_few_are_counted_and_training_goes_on(flac_set: Path, tmp_path: Path) -> None:
    shards, folder = tmp_path / "shards", tmp_path / "run"
    damage(flac_set, shards, 2)
    done = succeed(tmp_path / "log", train_words(shards, folder, *WORDS), ranks=2, prepare=no_scoring)
    trained = [record for record in records(folder) if "loss" in record]
    assert trained[-1]["bad_clips"] == 2
    assert len(losses(folder)) == 20
    assert "UNREADABLE CLIPS 2" in done.out[0]
    assert done.err[0].startswith("warning: alert bad_clips at step ") and done.err[0].count("\n") == 1
    assert not done.err[1]


def test_too_many_stop_the_run(flac_set: Path, tmp_path: Path) -> None:
    shards, folder = tmp_path / "shards", tmp_path / "run"
    damage(flac_set, shards, 30)
    line = refused(run(tmp_path / "log", train_words(shards, folder, *WORDS), ranks=2, prepare=no_scoring))
    assert "training clips could not be read, more than the 4 that train.max_bad_fraction allows" in line
    assert "python -m shards.verify" in line
