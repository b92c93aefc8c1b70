"""A training whose set lies in memory is the same as from its tars."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asd.data.manifest import load_manifest
from tests.support.launch import losses, run, succeed, train_words


@pytest.mark.parametrize("ranks", [1, 2])
def test_losses_and_scores_are_those_of_the_tars(small_set: Path, tmp_path: Path, ranks: int) -> None:
    found = {}
    for place in ("off", "host"):
        folder = tmp_path / place
        words = train_words(small_set, folder, "backbone.norm=sync", f"data.resident={place}")
        done = succeed(tmp_path / f"log_{place}", words, ranks=ranks)
        scores = next(folder.rglob("scores.csv")).read_text()
        found[place] = (losses(folder), scores)
        assert ("into the memory of each node" in done.out[0]) == (place == "host")
    assert found["host"] == found["off"]


def test_a_run_goes_on_wherever_its_set_lies(small_set: Path, tmp_path: Path) -> None:
    words = ["data.resident=host", "evaluate.every_epochs=9", "train.epochs=2"]
    succeed(tmp_path / "whole", train_words(small_set, tmp_path / "unbroken", *words))
    parts = tmp_path / "parts"
    succeed(tmp_path / "first", train_words(small_set, parts, *words, "train.epochs=1"))
    succeed(tmp_path / "second", train_words(small_set, parts, *words, "data.resident=auto"))
    assert losses(parts) == losses(tmp_path / "unbroken")


def test_what_cannot_be_held_is_one_line(small_set: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "log", train_words(small_set, tmp_path / "run", "data.resident=device"), ranks=2)
    assert done.codes == [2, 2]
    assert "data.resident=device needs a GPU, this run is on the CPU: name host, auto or off" in done.err[0]
    shards = tmp_path / "shards"
    shutil.copytree(small_set, shards)
    tar = shards / load_manifest(shards).file.shards[0].file
    content = bytearray(tar.read_bytes())
    content[len(content) // 2] ^= 1
    tar.write_bytes(content)
    done = run(tmp_path / "log2", train_words(shards, tmp_path / "run", "data.resident=host"), ranks=2)
    assert done.codes == [2, 2] and f"{tar} is not what was packed (its sha256 differs)" in done.err[0]
    assert not (tmp_path / "run").exists()
