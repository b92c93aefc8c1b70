"""Small detector files, and changed ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import torch

from asd.data.manifest import MachineClass
from asd.detector import (
    Detector,
    DetectorFile,
    FittedScorer,
    Provenance,
    Software,
    read_detector,
)
from asd.detector.normals import Normals, Shown
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.scorers import ScorerConfig, build_scorer
from asd.scorers.state import state_of
from asd.tasks.build import build_task
from asd.tasks.system import System
from tests.support.scored import NUM_CLASSES, TRAIN

CONFIG = pydantic.TypeAdapter(ScorerConfig)


SOFTWARE = Software(versions={"torch": "2.13.0"}, git_commit=None)


SYSTEM = System.model_validate(
    {
        "frontend": {"name": "log_mel", "n_mels": 8, "n_fft": 256, "hop": 128},
        "backbone": {"name": "mobilefacenet", "width": 0.125, "embedding": 6},
        "loss": {"name": "arcface"},
    }
)


def fitted(*names: str) -> tuple[FittedScorer, ...]:
    """Scorers fitted to random clips."""
    found = []
    for name in names:
        config = CONFIG.validate_python({"name": name})
        scorer = build_scorer(config)
        scorer.fit(TRAIN)
        thresholds = dict.fromkeys(range(NUM_CLASSES), 0.5)
        found.append(FittedScorer(config=config, state=state_of(config, scorer), thresholds=thresholds))
    return tuple(found)


def detector_file(*names: str) -> DetectorFile:
    torch.manual_seed(0)
    return DetectorFile(
        provenance=Provenance(
            run="run", step=1, epoch=0.5, data="set", fingerprint="f", trained=SOFTWARE, exported=SOFTWARE
        ),
        system=SYSTEM,
        weights=build_task(SYSTEM, 0, 16_000, NUM_CLASSES).state_dict(),
        precision="fp32",
        average="scores",
        sample_rate=16_000,
        classes=tuple(MachineClass(machine_type="fan", machine_id=f"{i:02d}") for i in range(NUM_CLASSES)),
        flipped=(),
        clip_s=0.5,
        longest_s=1.0,
        fixed_length=False,
        scorers=fitted(*(names or ("knn", "centroid"))),
        normals={own: normals_of(own) for own in range(NUM_CLASSES)},
    )


def normals_of(own: int) -> Normals:
    """All that the scorers were fitted to, with the sound of noise."""
    rows = TRAIN.select(TRAIN.class_index == own).per_clip()
    noise = np.random.default_rng(own).integers(-900, 900, (len(rows), 8_000)).astype(np.int16)
    names = (f"{clip}.wav" for clip in rows.clip_index.tolist())
    return Normals.of(
        rows, {"embedding", "features"}, (Shown.of(n, x, 16_000) for n, x in zip(names, noise, strict=True))
    )


def score_one(path: Path, label: str | None = None) -> float:
    """What the detector says of half a second of noise."""
    file = read_detector(path)
    noise = np.random.default_rng(0).integers(-900, 900, (1, 8_000)).astype(np.int16)
    with start_ranks("fp32", 60) as ranks:
        detector = Detector.open(file, path, ranks, 0, label)
        return float(detector.score([detector.embed(noise, 0)])[0])


def refused(path: Path, *words: str) -> str:
    """The one line that reading or opening a file ends with."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(UserError) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        score_one(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.isprintable(), repr(line)
    assert len(line) < 400 + len(str(path))
    assert str(path) in line
    for word in words:
        assert word in line, line
    assert sorted(path.parent.rglob("*")) == before, "something was written"
    return line


def changed(good: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The detector with something else in its tree."""
    tree = torch.load(good, weights_only=True)
    change(tree)
    torch.save(tree, folder / "d.pt")
    return folder / "d.pt"
