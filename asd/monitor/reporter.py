"""Rank 0's account of a run: status.json, status.prom and alerts.

All of it is work of the watchdog's thread. The loop hands its numbers over and goes on: it waits for no file.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from asd.distributed.collectives import is_peer_failure
from asd.errors import describe_os_error
from asd.files.atomic import write_whole
from asd.loggers.base import Record
from asd.loggers.console import TimeLeft
from asd.loggers.jsonl import JsonlLogger
from asd.loggers.tensorboard import TensorBoardLogger
from asd.monitor import prometheus
from asd.monitor.alerts import NAMES, Alerts, Change, Found, IntervalRules, backlog_rule, evaluation_rules
from asd.monitor.stages import Position, Stage
from asd.monitor.stalls import Stall, StallFiles, blame
from asd.monitor.status import State, Status, write_status

BEAT_S = 10.0  # a sign of life where nothing else happens
WORD_S = 10.0  # in which the other ranks tell where they hang
STATES: dict[Stage, State] = {  # where it is none of these: training
    Stage.START: "starting",
    Stage.SAVE: "saving",
    Stage.EVALUATE: "evaluating",
    Stage.SCORE: "scoring",
}
COPIED = ("epoch", "loss", "clips_per_s", "data_wait_percent", "bad_clips", "nonfinite_steps")  # from a record


@dataclass(frozen=True)
class RunSnapshot:
    """What there is of checkpoints and scores by now."""

    checkpoint_step: int | None = None
    scored_step: int | None = None
    auc: float | None = None
    pauc: float | None = None
    best_step: int | None = None
    unscored: int = 0  # evaluations that wait for their scores
    max_unscored: int | None = None  # of more the oldest are given up
    by_watcher: bool = False  # whom they wait for
    warnings: tuple[dict[str, str], ...] = ()  # of the newest report


@dataclass(frozen=True)
class Views:
    """Where alerts are shown beside the console."""

    journal: JsonlLogger
    board: TensorBoardLogger


class Reporter:
    """Takes records from the loop, and hears from the watchdog once a second."""

    def __init__(self, folder: Path, files: StallFiles, world_size: int, device: str, look: Callable[[], RunSnapshot]):
        now = time.time()
        self._status = Status(
            run=folder.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            world_size=world_size,
            device=device,
            started_unix=now,
            updated_unix=now,
            progressed_unix=now,
        )
        self._folder, self._files, self._look = folder, files, look
        self._rules, self._alerts = IntervalRules(0, 0), Alerts()
        self._left: TimeLeft | None = None
        self._views: Views | None = None
        self._curves: set[str] = set()  # alerts that TensorBoard has
        self._drawn = 0  # the step up to which
        self._records: deque[tuple[int, Record]] = deque()
        self._lock = threading.Lock()
        self._beat = time.monotonic()
        self._write()

    def begin(self, left: TimeLeft, nonfinite_steps: int, views: Views) -> None:
        """The loop is about to start, or to go on after nonfinite_steps such updates."""
        with self._lock:
            self._left, self._views, self._drawn = left, views, left.first_step
            self._rules = IntervalRules(left.first_step, nonfinite_steps)
            self._set(total_steps=left.total_steps, nonfinite_steps=nonfinite_steps)

    def log(self, step: int, record: Record) -> None:
        """Called by the loop; the rest is done by `tick`."""
        if "loss" in record:
            self._records.append((step, record))

    def tick(self, position: Position, progressed_unix: float, stall: Stall | None) -> None:
        """Take in what happened since the last one; write and tell what is new."""
        with self._lock:
            step = max(position.step, self._left.first_step if self._left else 0)
            state = STATES.get(position.stage, "training")
            news = bool(self._records) or state != self._status.state or time.monotonic() - self._beat >= BEAT_S
            self._set(state=state, stage=position.words, step=step, progressed_unix=progressed_unix)
            while self._records:
                self._take(*self._records.popleft())
            changes = self._alerts.update(step, self._stalled(stall))
            changes += self._stand() if news else []
            if changes:
                self._tell(step, changes)
            if news or changes:
                self._write()

    def end(self, outcome: State, why: str | None = None) -> None:
        """The last word; nothing ticks any more."""
        if changes := self._stand():
            self._tell(self._status.step, changes)
        self._set(state=outcome, why=why, eta_s=0.0 if outcome == "finished" else None)
        if outcome != "failed":
            self._set(stage=None)  # of a failed run, the stage is a part of the story
        self._write()

    def _take(self, step: int, record: Record) -> None:
        numbers = {name: record[name] for name in COPIED}
        self._set(**numbers, eta_s=self._left.seconds(step) if self._left else None)
        self._tell(step, self._alerts.update(step, self._rules(step, record)))

    def _stand(self) -> list[Change]:
        try:
            standing = asdict(self._look())
        except (OSError, ValueError, KeyError, TypeError):  # a file went away just now, or was changed by hand
            return []
        found = evaluation_rules(standing.pop("warnings"))
        limit, by_watcher = standing.pop("max_unscored"), standing.pop("by_watcher")
        self._set(**standing)
        backlog = backlog_rule(self._status.unscored, limit, by_watcher, self._alerts.holds("unscored"))
        changes = self._alerts.update(self._status.step, backlog)
        return changes + self._alerts.update(self._status.scored_step or 0, found)

    def _stalled(self, own: Stall | None) -> Found:
        """The ranks that hang, once all have told where, or have had the time to."""
        if own is None:
            return {"stalled": None}  # where any rank hangs, this one soon does
        stalls = self._files.under_way(self._status.started_unix) | {own.rank: own}
        first = min(stall.told_unix for stall in stalls.values())
        if len(stalls) < self._status.world_size and time.time() - first < WORD_S:
            return {}
        return {"stalled": f"{blame(stalls, self._status.world_size)}; stacks in {self._files.folder}"}

    def _tell(self, step: int, changes: list[Change]) -> None:
        """Say what began and ended, everywhere."""
        for change in changes:
            print(change.line, flush=True)
        if self._views is None:
            return
        with suppress(OSError):  # the loop will meet the same full disk, and end
            self._draw(step, self._views.board)
            for change in changes:
                self._views.board.text(step, "alerts", change.line)
                self._views.journal.log(step, {f"alert/{change.alert.name}": float(change.began)})
            if changes:
                self._views.board.flush()  # else they may lie there for two minutes

    def _draw(self, step: int, board: TensorBoardLogger) -> None:
        """A curve of 0 and 1 for each alert that there has been: a calm run has none."""
        active = {alert.name for alert in self._alerts.active}
        board.log(self._drawn, {f"alert/{name}": 0.0 for name in active - self._curves})
        self._curves |= active
        board.log(step, {f"alert/{name}": float(name in active) for name in self._curves})
        self._drawn = step

    def _set(self, **fields: object) -> None:
        self._status = self._status.model_copy(update=fields)

    def _write(self) -> None:
        self._beat = time.monotonic()
        self._set(updated_unix=time.time(), alerts=self._alerts.active)
        with suppress(OSError):  # a disk that takes no status takes no metrics.jsonl either, which ends the run
            write_status(self._folder, self._status)
            write_whole(self._folder / prometheus.FILE, prometheus.prometheus_text(self._status, NAMES))


def reason(error: BaseException) -> str:
    """One line on why a run failed."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError) and error.errno is not None:
        return describe_os_error(error)
    if isinstance(error, RuntimeError) and is_peer_failure(error):
        return "rank 0: another rank exited"
    name = "" if type(error).__name__ == "UserError" else f"{type(error).__name__}: "
    return name + next(iter(str(error).splitlines()), "")
