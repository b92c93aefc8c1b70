"""Training, scoring and sweeps in this very process: the same code, without a start of Python for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

import eval as evaluation
import train_ddp
from asd.evaluate.background import BackgroundScoring
from asd.evaluate.scoring import score_folder
from asd.sweep.engines import Local
from asd.sweep.jobs import Job
from tests.support.launch import ONE_THREAD


def score_inline(patch: pytest.MonkeyPatch) -> None:
    """Evaluations of a training are scored at once, on one thread, without figures."""
    for name, value in ONE_THREAD.items():
        patch.setenv(name, value)
    without_figures(patch)
    patch.setattr(
        BackgroundScoring, "submit", lambda self, step: score_folder(self._folder.evaluation(step), shards=self._shards)
    )


def without_figures(patch: pytest.MonkeyPatch) -> None:
    """They take most of the time of a small set's scoring."""
    patch.setattr("asd.report.figures.evaluation_figures", lambda *_: {})


def score_run(run: Path, out: Path, *words: str) -> Path:
    """eval.py score for the best checkpoint of a run; the folder that it wrote."""
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert evaluation.main(["score", "--run", str(run), "--out", str(out), *words]) == 0
    return out


def sweep_inline(patch: pytest.MonkeyPatch) -> list[list[str]]:
    """The runs of sweeps as well; the words of each training are appended to the list."""
    score_inline(patch)
    started: list[list[str]] = []

    def submit(_: Local, jobs: Sequence[Job]) -> list[Ended]:
        words = [job.command(ranks=1)[2:] for job in jobs]  # after python train_ddp.py
        started.extend(words)
        return [Ended(train_ddp.main(own)) for own in words]

    patch.setattr(Local, "submit", submit)
    patch.setattr(Local, "poll_s", 0.0)
    return started


class Ended:
    """A job of submitit that has come to its end."""

    job_id = "1"

    def __init__(self, code: int) -> None:
        self._code = code
        self.paths = SimpleNamespace(stdout=Path("no_log"), result_pickle=Path(__file__))

    def done(self) -> bool:
        return True

    def exception(self) -> None:
        return None

    def result(self) -> tuple[int, float]:
        return self._code, 0.1
