"""Files that are no detectors, of other formats or damaged, are refused in one line."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asd.detector import (
    read_detector,
)
from asd.errors import UserError
from tests.support.detectors import changed, refused


@pytest.mark.parametrize("content", [b"", b"no detector", b"RIFF\0\0\0\0WAVEfmt ", b"PK\3\4", pickle.dumps({"a": 1})])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "detector.pt"
    path.write_bytes(content)
    refused(path, "is no detector file", "make one by `python eval.py export`")


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "."])
def test_what_is_no_file_is_refused_unread(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / place, "is no detector file but a folder, pipe or device", "make one by")


def test_a_missing_file_is_named_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path / "none.pt")):
        read_detector(tmp_path / "none.pt")


@pytest.mark.parametrize("value", [[1, 2], {"weights": {}}, torch.ones(3), {"kind": torch.ones(2)}, {"kind": "asd"}])
def test_other_things_that_torch_saved_are_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", "is no detector file")


def test_another_format_version_is_named(good: Path, tmp_path: Path) -> None:
    for version, said in ((7, "7"), (torch.ones(2), "?"), ("\x1b[2J", "?")):
        path = changed(good, tmp_path, lambda tree, v=version: tree.update(format=v))
        refused(path, f"is a detector of format {said}, where formats up to 6 are read: export it again")


def test_an_older_format_is_read(good: Path, tmp_path: Path) -> None:
    def as_before(tree: dict[str, Any]) -> None:
        tree.update(format=2, turned=tree.pop("flipped"), first_only=tree.pop("fixed_length"))
        del tree["normals"]

    older = read_detector(changed(good, tmp_path, as_before))
    assert (older.flipped, older.fixed_length, older.classes) == ((), False, read_detector(good).classes)


def test_every_format_is_read_and_older_ones_keep_no_normal_recording(good: Path, tmp_path: Path) -> None:
    for version in (1, 2, 3, 4):
        path = changed(good, tmp_path, lambda tree, v=version: (tree.update(format=v), tree.pop("normals")))
        with pytest.raises(UserError, match=r"d.pt keeps no normal recordings of fan/01, .*: export it again"):
            read_detector(path).normals_of(1, path)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_a_part_of_a_file_is_refused(good: Path, tmp_path: Path, kept: float) -> None:
    path, whole = tmp_path / "d.pt", good.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    refused(path, "or only a part of one")


def test_a_changed_byte_is_found(good: Path, tmp_path: Path) -> None:
    path, draw = tmp_path / "d.pt", random.Random(0)
    whole = good.read_bytes()
    with zipfile.ZipFile(good) as archive:
        weights = max(archive.infolist(), key=lambda entry: entry.file_size)
    middle = weights.header_offset + 200 + weights.file_size // 2
    for position in [middle, *(draw.randrange(len(whole)) for _ in range(20))]:
        damaged = bytearray(whole)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        try:
            read_detector(path)  # between the members lie bytes that nobody reads
        except UserError as error:
            assert "damaged" in str(error) or "no detector file" in str(error)
        else:
            assert position != middle


def scorer_state(tree: dict[str, Any], number: int) -> dict[int, Any]:
    return tree["scorers"][number]["state"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree.pop("weights"), "weights: Field required"),
        (lambda tree: tree.update(more=1), "more: Extra inputs"),
        (lambda tree: tree.update(sample_rate=-1), "sample_rate"),
        (lambda tree: tree.update(sample_rate=10**12), "sample_rate"),
        (lambda tree: tree.update(clip_s=10.0**9), "clip_s"),
        (lambda tree: tree.update(clip_s=2.0), "longest_s: Value error, it is below clip_s"),
        (lambda tree: tree.update(classes=[]), "classes"),
        (lambda tree: tree["classes"][0].update(machine_type="\x1b[31mfan"), "a name cannot be printed"),
        (lambda tree: tree["classes"][0].update(machine_id="01"), "two classes have one name"),
        (lambda tree: tree["scorers"][0]["thresholds"].update({0: float("nan")}), "finite number"),
        (lambda tree: tree["scorers"][0]["config"].update(name="\x1b[31m"), "scorers.0.config"),
        (lambda tree: tree["system"]["frontend"].update(n_mels=100_000, n_fft=65_536), "damaged: system"),
        (lambda tree: tree["system"]["backbone"].update(embedding=7), "its weights do not fit its network"),
        (lambda tree: tree["system"]["backbone"].update(embedding=10**9), "its weights do not fit its network"),
        (lambda tree: tree["system"]["backbone"].update(embedding=10**30), "its network cannot be built"),
        (
            lambda tree: tree["system"].update(backbone={"name": "resnet50_ir", "depths": [10**9, 1, 1, 1]}),
            "its network cannot be built (it has more than",
        ),
        (lambda tree: tree["weights"].update({"\x1b[2J": torch.ones(1)}), "its weights do not fit its network"),
        (lambda tree: tree["weights"].update({"loss.centres": torch.ones(3, 6).int()}), "a tensor that is not plain"),
        (lambda tree: tree["weights"].update({"x": torch.ones(1).expand(10**12)}), "a tensor that is not plain"),
        (lambda tree: tree["weights"].update({"x": torch.ones(2, 2).to_sparse()}), "a tensor that is not plain"),
        (lambda tree: tree["weights"].update({"x": torch.nn.Parameter(torch.ones(2))}), "it holds a Parameter"),
        (lambda tree: tree.update(flipped={1, 2}), "it holds a set"),
        (lambda tree: tree["normals"][0]["columns"].pop("recording"), "column recording is missing"),
        (lambda tree: tree["normals"][0]["columns"].update(more=torch.ones(2)), "there is no column more"),
        (lambda tree: tree["normals"][0]["columns"].update(features=torch.ones(2, 3)), "has 2 rows"),
        (lambda tree: tree["normals"][0].update(names=["a"]), "are not those of"),
        (lambda tree: tree["normals"][0].update(pictures=torch.ones(2)), "are not those of"),
        (lambda tree: tree["normals"][0].update(decibels=tree["normals"][0]["decibels"].double()), "not of 8 bits"),
        (lambda tree: scorer_state(tree, 0).clear(), "has no state for fan/00"),
        (lambda tree: scorer_state(tree, 0).update({0: 5}), "the state of scorer knn does not fit it"),
        (lambda tree: scorer_state(tree, 0)[0].update(embedding=torch.ones(2)), "the state of scorer knn does not"),
        (lambda tree: scorer_state(tree, 0)[0].pop("domain"), "the state of scorer knn does not fit it"),
        (lambda tree: widen(scorer_state(tree, 0)[0]), "its scorer does not fit its network"),
    ],
)
def test_what_does_not_fit_is_refused(
    good: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    refused(changed(good, tmp_path, change), said)


def widen(model: dict[str, Any]) -> None:
    model["embedding"] = torch.ones(len(model["embedding"]), 9)
