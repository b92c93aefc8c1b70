"""Scoring beside training: a process that is killed is started again (for real: benchmarks.soak)."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from asd.evaluate import background
from asd.evaluate.background import BackgroundScoring
from asd.loggers import LoggingConfig
from asd.report import build_report, print_report
from asd.report.model import ReportWarning
from asd.run_folder.paths import RunFolder
from tests.support.patience import PATIENCE_S
from tests.support.reports import HEADER, clips

AGAIN, FAILED = "warning: scoring step 3 was killed by SIGKILL: retrying", "warning: scoring step 3 failed"


@pytest.mark.parametrize(
    ("codes", "said", "warned"),
    [
        ([0], True, []),
        ([-9, 0], True, [AGAIN]),
        ([-9, -15], False, [AGAIN, FAILED]),
        ([2], False, [FAILED]),
    ],
)  # fmt: skip
def test_a_killed_scoring_process_gets_another_try(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    codes: list[int],
    said: bool,
    warned: list[str],
) -> None:
    left = iter(codes)
    monkeypatch.setattr(BackgroundScoring, "_run", lambda self, folder: next(left))
    monkeypatch.setattr(background, "headline", lambda folder: "mean AUC")
    folder = RunFolder(tmp_path).evaluation(3)
    folder.mkdir(parents=True)
    (folder / background.LOG_FILE).touch()
    scoring = BackgroundScoring(RunFolder(tmp_path), tmp_path, LoggingConfig())
    scoring.submit(3)
    assert scoring.done_within(PATIENCE_S)
    scoring.stop()
    out, err = capsys.readouterr()
    assert ("step 3 scored in " in out) == said
    assert [line.partition(": no output")[0] for line in err.splitlines()] == warned
    assert next(left, None) is None


def test_a_warning_of_all_checkpoints_is_logged_once_and_not_printed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {3: ["few recordings"], 6: ["few recordings", "the proxy task is trivial"]}
    reports = {
        step: build_report(clips(), HEADER).model_copy(
            update={"warnings": [ReportWarning(code="any", text=text) for text in told]}
        )
        for step, told in texts.items()
    }
    monkeypatch.setattr(BackgroundScoring, "_run", lambda self, folder: 0)
    monkeypatch.setattr(background, "headline", lambda folder: "mean AUC")
    monkeypatch.setattr(background, "read_report", lambda folder: reports[int(folder.name.removeprefix("step_"))])
    scoring = BackgroundScoring(RunFolder(tmp_path), tmp_path, LoggingConfig())
    for step in texts:
        scoring.submit(step)
    assert scoring.done_within(PATIENCE_S)
    scoring.stop()
    assert capsys.readouterr().err.splitlines() == [f"warning: {text}" for text in texts[6]]
    for told, printed in ((scoring.told, 0), (set[str](), 2)):
        print_report(reports[6], told)
        assert capsys.readouterr().out.count("warning: ") == printed


def test_scoring_takes_only_what_training_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen at the system's own calls: processes of the tests are kept from giving way (tests/awake)."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "setpriority", lambda *words: asked.append(words))
    monkeypatch.setattr(os, "sched_setscheduler", lambda pid, policy, _: asked.append((pid, policy)))
    background._yield_to_training(123)
    assert asked == [(os.PRIO_PROCESS, 123, 19), (123, os.SCHED_IDLE)]


def test_what_yields_is_started_anew_when_nobody_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A starved process, here one that sleeps, cannot take back without privileges that it yields."""
    yielded: list[int] = []
    monkeypatch.setattr(background, "_yield_to_training", yielded.append)
    monkeypatch.setattr(background, "headline", lambda folder: "mean AUC")
    starts, python = tmp_path / "starts", tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncd {tmp_path}\necho >> starts\n[ $(wc -l < starts) -ge 2 ] || exec sleep 600\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    scoring = BackgroundScoring(RunFolder(tmp_path), tmp_path, LoggingConfig())
    for step in (3, 6):
        (tmp_path / "evaluations" / f"step_{step:08d}").mkdir(parents=True)
        scoring.submit(step)
    while not (starts.exists() and yielded):
        time.sleep(0.01)
    scoring.hurry()
    assert scoring.done_within(PATIENCE_S)
    scoring.hurry()
    scoring.stop()
    assert starts.read_text().count("\n") == 3
    assert len(yielded) == 1


def test_the_scoring_process_sees_the_users_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"mine{os.pathsep}theirs")
    first, *others = background._scoring_environment()["PYTHONPATH"].split(os.pathsep)
    assert (Path(first) / "asd" / "evaluate" / "scoring.py").is_file()
    assert others == ["mine", "theirs"]
    monkeypatch.delenv("PYTHONPATH")
    assert background._scoring_environment()["PYTHONPATH"] == first
