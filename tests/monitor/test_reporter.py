"""status.json and status.prom hold what the loop and the watchdog saw."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asd.errors import UserError
from asd.loggers.base import Loggers
from asd.loggers.console import TimeLeft
from asd.loggers.jsonl import JsonlLogger, read_metrics
from asd.loggers.tensorboard import TensorBoardLogger
from asd.monitor import reporter as module
from asd.monitor.alerts import stalled
from asd.monitor.reporter import Reporter, reason
from asd.monitor.snapshot import RunSnapshot
from asd.monitor.stages import Position, Stage
from asd.monitor.stalls import Stall, StallFiles
from asd.monitor.status import Status, read_status

RECORD = {
    "epoch": 1.25,
    "loss": 0.5,
    "loss_highest": 0.6,
    "grad_norm_highest": 3.0,
    "step_s": 0.1,
    "clips_per_s": 512.0,
    "data_wait_percent": 1.5,
    "bad_clips": 0,
    "nonfinite_steps": 0,
}


@dataclass
class Run:
    """A reporter on a run folder, and what lies there."""

    folder: Path
    standing: RunSnapshot = field(default_factory=RunSnapshot)
    loggers: Loggers = field(default_factory=Loggers)

    def __post_init__(self) -> None:
        files = StallFiles(self.folder / "stalls")
        self.reporter = Reporter(self.folder, files, world_size=2, device="cpu", look=lambda: self.standing)

    def begin(self, first_step: int = 0) -> None:
        self.loggers.add(JsonlLogger(self.folder / "metrics.jsonl", 0))
        self.loggers.add(TensorBoardLogger(self.folder / "tensorboard"))
        self.reporter.begin(TimeLeft(100, first_step), 0, self.loggers)

    def tick(self, step: int, stage: Stage = Stage.STEP, stall: Stall | None = None) -> None:
        self.reporter.tick(Position(step, stage), 1.75e9, stall)

    @property
    def status(self) -> dict[str, Any]:
        return json.loads((self.folder / "status.json").read_text())

    @property
    def samples(self) -> dict[tuple[str, ...], float]:
        """Name and labels but the run's → value, of status.prom."""
        families = text_string_to_metric_families((self.folder / "status.prom").read_text())
        found = [sample for family in families for sample in family.samples]
        assert all(sample.labels.pop("run") == self.folder.name for sample in found)
        return {(sample.name, *sample.labels.values()): sample.value for sample in found}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    found = Run(tmp_path)
    yield found
    found.loggers.close()


def test_it_is_there_from_the_start(run: Run) -> None:
    status = run.status
    assert status["format"] == 1
    assert (status["state"], status["step"], status["loss"]) == ("starting", 0, None)
    assert (status["host"], status["pid"], status["world_size"]) == (socket.gethostname(), os.getpid(), 2)
    assert run.samples["asd_state", "starting"] == 1
    assert run.samples["asd_state", "training"] == 0
    assert ("asd_loss",) not in run.samples


def test_an_interval(run: Run) -> None:
    run.begin()
    run.reporter.log(20, RECORD)
    run.tick(21)
    status = run.status
    shown = {name: status[name] for name in ("state", "step", "total_steps", "epoch", "loss", "clips_per_s")}
    expected = {"state": "training", "step": 21, "total_steps": 100, "epoch": 1.25, "loss": 0.5, "clips_per_s": 512.0}
    assert shown == expected
    assert status["eta_s"] >= 0
    assert status["progressed_unix"] == 1.75e9
    assert status["progressed"] == "2025-06-15T15:06:40Z"
    assert run.samples["asd_loss",] == 0.5
    assert run.samples["asd_data_wait_ratio",] == 0.015
    assert run.samples["asd_progressed_timestamp_seconds",] == 1.75e9


def test_a_loss_that_is_not_finite_is_no_number(run: Run) -> None:
    run.begin()
    run.reporter.log(20, RECORD | {"loss": math.nan, "nonfinite_steps": 1})
    run.tick(20)
    assert run.status["loss"] is None
    assert run.status["nonfinite_steps"] == run.samples["asd_nonfinite_steps_total",] == 1


@pytest.mark.parametrize(
    ("stage", "state"),
    [(Stage.DATA, "training"), (Stage.SAVE, "saving"), (Stage.EVALUATE, "evaluating"), (Stage.SCORE, "scoring")],
)
def test_a_change_of_state_is_written_at_once(run: Run, stage: Stage, state: str) -> None:
    run.begin()
    run.tick(5, stage)
    assert (run.status["state"], run.status["stage"]) == (state, stage.value)


SAVED = {"checkpoint_step": 6, "scored_step": 4, "auc": 0.75, "pauc": 0.6, "best_step": 2}


def test_between_news_a_beat_tells_that_it_lives(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.begin()
    run.tick(5)
    run.standing = RunSnapshot(**SAVED)
    run.tick(6)
    assert (run.status["step"], run.status["checkpoint_step"]) == (5, None)
    monkeypatch.setattr(module, "BEAT_S", 0.0)
    run.tick(7)
    assert run.status["step"] == 7
    assert SAVED.items() <= run.status.items()
    assert run.samples["asd_auc_ratio",] == 0.75


def test_what_was_saved_is_known_once_it_is(run: Run) -> None:
    run.begin()
    run.tick(6, Stage.SAVE)
    run.standing = RunSnapshot(**SAVED)
    run.tick(6)
    assert run.status["checkpoint_step"] == 6


def test_a_resumed_run_starts_where_it_goes_on(run: Run) -> None:
    run.begin(first_step=40)
    run.tick(0, Stage.START)
    run.reporter.end("stopped")
    assert run.status["step"] == 40


def test_alerts_are_shown_everywhere_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.begin()
    for step, count in ((20, 0), (40, 2), (60, 2)):
        run.reporter.log(step, RECORD | {"nonfinite_steps": count})
        run.tick(step)
        assert [alert["name"] for alert in run.status["alerts"]] == (["nonfinite"] if step == 40 else [])
        assert run.samples["asd_alert", "nonfinite"] == (step == 40)
    said = capsys.readouterr()
    began, ended = said.err.removeprefix("warning: ").strip(), said.out.strip()
    assert began.startswith("alert nonfinite at step 40: 2 updates were skipped")
    assert ended == "alert nonfinite is over at step 60 (began at step 40)"
    told = [{"step": 40, "alert/nonfinite": 1.0}, {"step": 60, "alert/nonfinite": 0.0}]
    records = read_metrics(run.folder / "metrics.jsonl")
    assert [record for record in records if record.pop("time_unix")] == told
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    curve = [(event.step, event.value) for event in events.Scalars("alert/nonfinite")]
    assert curve == [(40, 0.0), (40, 1.0), (60, 1.0), (60, 0.0)], "points are joined by lines"
    assert events.Tags()["scalars"] == ["alert/nonfinite"], "no curve of what never was"
    texts = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("alerts/text_summary")]
    assert texts == [began, ended]


def stall(rank: int, stage: Stage, told_unix: float = 4e9) -> Stall:
    return Stall(rank=rank, host="h", pid=1, position=Position(5, stage), since_unix=told_unix - 9, told_unix=told_unix)


def test_a_stall_is_told_when_all_ranks_have_said_where_they_are(run: Run) -> None:
    run.begin()
    run.tick(5, stall=stall(0, Stage.STEP))
    assert run.status["alerts"] == []
    StallFiles(run.folder / "stalls").write(stall(1, Stage.DATA), "")
    run.tick(5, stall=stall(0, Stage.STEP))
    (alert,) = run.status["alerts"]
    assert alert["name"] == "stalled"
    assert alert["text"].startswith("rank 1 on h is stalled (waiting for data, step 5); rank 0 waits")
    assert str(run.folder / "stalls") in alert["text"]
    run.tick(6)
    assert run.status["alerts"] == []


def test_ranks_that_say_nothing_are_not_waited_for_for_ever(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.begin()
    monkeypatch.setattr(stalled, "REPORT_S", -1e10)
    run.tick(5, stall=stall(0, Stage.STEP))
    assert run.status["alerts"][0]["text"].startswith("no stall report from rank 1")


def test_no_learning_comes_from_the_newest_report(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.begin()
    finding = "the wording is free"
    warnings = {"trivial_task": "the network is not learning to classify the machines", "no_learning": finding}
    run.standing = RunSnapshot(scored_step=40, warnings=warnings)
    run.reporter.end("finished")
    assert capsys.readouterr().err == f"warning: alert no_learning at step 40: {finding}\n"
    assert (run.status["state"], run.status["eta_s"]) == ("finished", 0.0)


def test_failures_say_why(run: Run) -> None:
    run.reporter.end("failed", reason(UserError("train.global_batch: too large")))
    assert (run.status["state"], run.status["why"]) == ("failed", "train.global_batch: too large")
    assert reason(ValueError("two\nlines")) == "ValueError: two"
    assert reason(OSError(28, "No space left on device", "runs/x")) == "No space left on device: runs/x"
    lost = RuntimeError("[/gloo/transport/tcp/pair.cc:5] Connection closed by peer")
    assert reason(lost) == "rank 0: another rank exited"
    assert reason(KeyboardInterrupt()) == "interrupted"


def test_a_full_disk_is_left_to_the_loop(run: Run) -> None:
    run.begin()
    (run.folder / "status.json.partial").mkdir()  # no file can be written there
    run.reporter.log(20, RECORD)
    run.tick(20)
    assert run.status["state"] == "starting"


def test_a_report_that_somebody_spoilt_ends_no_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.begin()
    monkeypatch.setattr(run.reporter, "_look", lambda: json.loads("no JSON"))
    run.tick(6, Stage.SAVE)
    run.reporter.end("finished")
    assert (run.status["state"], run.status["checkpoint_step"]) == ("finished", None)


def test_what_is_no_status_is_named(tmp_path: Path, run: Run) -> None:
    assert isinstance(read_status(tmp_path / "status.json"), Status)
    (tmp_path / "status.json").write_text('{"format": 2}')
    with pytest.raises(UserError, match=r"status\.json is not the status of a run: format"):
        read_status(tmp_path / "status.json")
