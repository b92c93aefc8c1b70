"""A detector file gives back what was put into it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asd.detector import (
    build_network,
    read_detector,
    write_detector,
)
from asd.errors import UserError
from asd.scorers import SCORERS, build_scorer
from asd.scorers.state import restored
from tests.support.detectors import CONFIG, detector_file
from tests.support.scored import NUM_CLASSES, TEST, TRAIN


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_says_the_same_after_a_file(name: str, tmp_path: Path) -> None:
    config = CONFIG.validate_python({"name": name})
    scorer = build_scorer(config)
    scorer.fit(TRAIN)
    write_detector(tmp_path / "d.pt", detector_file(name))
    (stored,) = read_detector(tmp_path / "d.pt").scorers
    again = restored(stored.config, stored.state)
    for clips in (TEST, TRAIN):  # of a training clip, the own one is left out, still
        np.testing.assert_allclose(again.score(clips), scorer.score(clips), rtol=1e-12)  # a matrix may lie transposed


def test_the_network_is_the_same_after_a_file(good: Path) -> None:
    file = detector_file()
    network = build_network(read_detector(good), good)
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, file.weights[name]), name


def test_it_is_plain_torch_and_says_what_it_is(good: Path) -> None:
    tree = torch.load(good, weights_only=True)
    assert (tree["kind"], tree["format"]) == ("asd detector", 6)
    assert tree["classes"][1] == {"machine_type": "fan", "machine_id": "01"}
    assert tree["provenance"]["fingerprint"] == "f"


def test_what_several_scorers_know_is_stored_once(tmp_path: Path) -> None:
    banks = []
    for names in (("knn",), ("knn", "lof", "local_knn", "mahalanobis")):
        write_detector(tmp_path / "d.pt", detector_file(*names))
        tensors = all_tensors(torch.load(tmp_path / "d.pt", weights_only=True)["scorers"])
        of_clips = [t for t in tensors if t.dim() == 2 and t.shape[1] == TRAIN.embedding.shape[1]]
        banks.append((len(of_clips), len({t.data_ptr() for t in of_clips})))
    (_, alone), (named, together) = banks
    assert together == alone
    assert named >= 4 * NUM_CLASSES


def all_tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [tensor for value in inside for tensor in all_tensors(value)]


def test_a_failed_write_leaves_the_former_one(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.pt"
    path.write_bytes(good.read_bytes())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_detector(path, detector_file("centroid"))
    assert [p.name for p in tmp_path.iterdir()] == ["d.pt"]
    assert path.read_bytes() == good.read_bytes()


def test_machines_are_told_by_what_is_needed() -> None:
    file = detector_file()
    assert file.class_index("fan", "01") == file.class_index(None, "01") == 1
    with pytest.raises(UserError, match="name the machine: --machine fan --id 00, --machine fan --id 01"):
        file.class_index("fan", None)
    with pytest.raises(UserError, match="has no such machine: it has --machine fan --id 00"):
        file.class_index("pump", "00")
    with pytest.raises(UserError, match="has no scorer gmm: it has knn, centroid"):
        file.scorer("gmm")
