"""Runs that several tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import train_ddp
from tests.support import resumable
from tests.support.inline import score_inline
from tests.support.launch import torchrun, train_words


@dataclass(frozen=True)
class FinishedRun:
    """A run that torchrun brought to its end."""

    folder: Path
    output: str  # everything that it printed


@pytest.fixture(scope="session")
def finished_run(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Two ranks, two epochs, one evaluation, with batch statistics; not to be written to."""
    place = tmp_path_factory.mktemp("finished")
    words = train_words(small_set, place / "run", "backbone.norm=batch")
    with torchrun(place / "log", words) as agent:
        code = agent.wait()
    output = (place / "log").read_text()
    assert code == 0, output
    return FinishedRun(place / "run", output)


@pytest.fixture(scope="session")
def unbroken(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the resumable run in one go; not to be written to."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    resumable.train(small_set, folder)
    return folder


@pytest.fixture(scope="session")
def run2022(factory2022: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on fans and valves of DCASE 2022, four steps, evaluated after two and four; not to be written to."""
    folder = tmp_path_factory.mktemp("run2022") / "run"
    words = ["data.machine_types=[fan, valve]", "data.val_fraction=0.2", "evaluate.every_epochs=1"]
    words += ["evaluate.scorers=[{name: centroid}, {name: untrained_knn}]"]
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(train_words(factory2022, folder, *words)) == 0
    return folder
