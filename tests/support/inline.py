"""Training, scoring and sweeps in this very process: the same code, without a start of Python for each of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import eval as evaluation
import train_ddp
from asd.evaluate.background import BackgroundScoring
from asd.evaluate.scoring import score_folder
from asd.sweep import jobs
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

    def run(_: jobs.Trainings, command: list[str], *__: object) -> tuple[int, bool]:
        words = command[2:]  # after python train_ddp.py
        started.append(words)
        return train_ddp.main(words), False

    patch.setattr(jobs.Trainings, "run", run)
    patch.setattr(jobs, "ThreadPoolExecutor", Inline)  # signals are the main thread's
    return started


class Inline:
    """One job after another, where they are asked for."""

    def __init__(self, slots: int) -> None:
        assert slots == 1

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: object) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done
