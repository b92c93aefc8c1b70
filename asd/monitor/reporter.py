"""Rank 0's account of a run: status.json, status.prom and alerts.

All of it is done by the watchdog's thread. The loop hands its numbers over and waits for no file.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from asd.distributed.collectives import is_peer_failure
from asd.errors import UserError, describe_os_error
from asd.files.atomic import write_whole
from asd.loggers.base import Logger, Record
from asd.loggers.console import TimeLeft
from asd.monitor import prometheus
from asd.monitor.alerts import NAMES, RULES
from asd.monitor.alerts.base import Alerts
from asd.monitor.snapshot import RunSnapshot
from asd.monitor.stages import Position, Stage
from asd.monitor.stalls import Stall, StallFiles
from asd.monitor.status import State, Status, write_status

log = logging.getLogger(__name__)

BEAT_S = 10.0  # heartbeat interval when nothing else happens
STATES: dict[Stage, State] = {  # all others: training
    Stage.START: "starting",
    Stage.SAVE: "saving",
    Stage.EVALUATE: "evaluating",
    Stage.SCORE: "scoring",
}
COPIED = ("epoch", "loss", "clips_per_s", "data_wait_percent", "bad_clips", "nonfinite_steps")  # from a record
SHOWN = ("checkpoint_step", "scored_step", "auc", "pauc", "best_step", "unscored")  # from a snapshot


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
        self._alerts = Alerts([rule() for rule in RULES])
        self._left: TimeLeft | None = None
        self._loggers = Logger()  # where alerts are shown
        self._records: deque[tuple[int, Record]] = deque()
        self._lock = threading.Lock()
        self._beat = time.monotonic()
        self._write()

    def begin(self, left: TimeLeft, nonfinite_steps: int, loggers: Logger) -> None:
        """The loop is about to start, or to resume after nonfinite_steps skipped updates."""
        with self._lock:
            self._left, self._loggers = left, loggers
            for rule in self._alerts.rules:
                rule.begin(left.first_step, nonfinite_steps)
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
                at, record = self._records.popleft()
                self._set(
                    **{name: record[name] for name in COPIED}, eta_s=self._left.seconds(at) if self._left else None
                )
                for rule in self._alerts.rules:
                    rule.see_interval(at, record)
                self._tell(at)
            # Where any rank is stalled, this one soon is.
            stalls = {} if stall is None else self._files.under_way(self._status.started_unix) | {stall.rank: stall}
            for rule in self._alerts.rules:
                rule.see_stalls(stalls, self._status.world_size, self._files.folder)
            if news:
                self._read_snapshot()
            if self._tell(step) or news:
                self._write()

    def end(self, outcome: State, why: str | None = None) -> None:
        """The last word; nothing ticks any more."""
        self._read_snapshot()
        self._tell(self._status.step)
        self._set(state=outcome, why=why, eta_s=0.0 if outcome == "finished" else None)
        if outcome != "failed":
            self._set(stage=None)  # of a failed run, the stage is a part of the story
        self._write()

    def _read_snapshot(self) -> None:
        try:
            found = self._look()
        except (OSError, ValueError, UserError):  # a file went away just now, or is another version's
            return
        self._set(**{name: getattr(found, name) for name in SHOWN})
        for rule in self._alerts.rules:
            rule.see_snapshot(found)

    def _tell(self, step: int) -> bool:
        """Say which alerts began and ended, everywhere; whether there are any."""
        changes = self._alerts.changes(step)
        for change in changes:
            fields = {"step": change.step, "alert": change.alert.name}
            log.log(logging.WARNING if change.began else logging.INFO, change.line, extra={"fields": fields})
            with suppress(OSError):  # the loop will meet the same full disk, and end
                self._loggers.text(step, "alerts", change.line)
                self._loggers.log(step, {f"alert/{change.alert.name}": float(change.began)})
                self._loggers.flush()  # else they may lie there for two minutes
        return bool(changes)

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
