"""Scoring in a low-priority process that ends when its parent ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from asd.evaluate.history import headline, is_scored, unscored_steps
from asd.evaluate.store import remove_evaluation
from asd.loggers import LoggingConfig
from asd.process.stop import StopSignal
from asd.report import read_report
from asd.run_folder.paths import RunFolder

log = logging.getLogger(__name__)

LOG_FILE = "scoring.log"
POLL_S = 0.2


class BackgroundScoring:
    """One scoring process at a time, in the order of the steps; it yields to training while there is any."""

    def __init__(self, folder: RunFolder, shards: Path, trackers: LoggingConfig) -> None:
        self._folder, self._shards, self._trackers = folder, shards, trackers
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._jobs: dict[int, Future[None]] = {}  # by step
        self._child: subprocess.Popen[bytes] | None = None
        self.told: set[str] = set()  # warnings of reports, once each
        self._stopped = False
        self._yields, self._priority = True, threading.Lock()

    def submit(self, step: int) -> None:
        self._jobs[step] = self._queue.submit(self._score, step)

    def submit_unscored(self) -> None:
        """Take up again what an earlier process of this run did not finish."""
        for step in unscored_steps(self._folder):
            self.submit(step)

    @property
    def pending(self) -> int:
        """How many of those submitted are not scored (nor have failed) yet."""
        return sum(not job.done() for job in self._jobs.values())

    def give_up(self, most: int, spare: int | None) -> list[int]:
        """Remove the oldest unscored evaluations, until no more than `most` are left; not the one under way.

        Returns their steps, spare never among them.
        """
        unscored = [step for step in unscored_steps(self._folder) if step in self._jobs]
        gone: list[int] = []
        for step in unscored:
            job = self._jobs[step]
            if len(unscored) - len(gone) <= most or step == spare or not (job.cancel() or job.done()):
                continue
            if not is_scored(self._folder, step):  # it may have been done just now
                remove_evaluation(self._folder.evaluation(step))
                del self._jobs[step]
                gone.append(step)
        return gone

    def wait(self, stop: StopSignal) -> None:
        """Until everything submitted is scored; a signal ends it early."""
        while stop.name is None and not self.done_within(POLL_S):
            pass

    def done_within(self, seconds: float) -> bool:
        """Whether everything submitted is scored (or has failed), now or so many seconds later."""
        return not wait(self._jobs.values(), timeout=seconds).not_done

    def hurry(self) -> None:
        """Nobody trains any more: on a machine that others keep busy, what is left over may be nothing for hours.

        A process that has yielded cannot take that back without privileges, so the one under way is started anew.
        """
        with self._priority:
            if self._yields and self._child is not None:
                self._child.terminate()
            self._yields = False

    def stop(self) -> None:
        """End the running process; a resumed run scores what is left."""
        self._stopped = True
        if self._child is not None:
            self._child.terminate()
        self._queue.shutdown(wait=True, cancel_futures=True)

    def _score(self, step: int) -> None:
        if self._stopped:
            return
        folder = self._folder.evaluation(step)
        begin = time.monotonic()
        code = self._run(folder)
        if code < 0 and not self._stopped:
            log.warning(f"scoring step {step} was killed by {signal.Signals(-code).name}: retrying")
            code = self._run(folder)
        if code == 0:
            seconds = time.monotonic() - begin
            fields = {"step": step, "seconds": round(seconds, 1)}
            log.info(f"step {step} scored in {seconds:.0f} s: {headline(folder)}", extra={"fields": fields})
            report = read_report(folder)
            new = [] if report is None else [w.text for w in report.warnings if w.text not in self.told]
            self.told.update(new)
            for text in new:
                log.warning(text)
        elif not self._stopped:
            output = folder / LOG_FILE
            lines = output.read_text(errors="replace", encoding="utf-8").strip().splitlines() or ["no output"]
            why = lines[-1].partition(" error: ")[2] or lines[-1]
            log.warning(f"scoring step {step} failed: {why} (see {output})")

    def _run(self, folder: Path) -> int:
        """Score an evaluation in a process of its own; its exit code."""
        words = (folder, self._folder.root, self._shards, self._trackers.model_dump_json())
        command = [sys.executable, "-m", "asd.evaluate.scoring", *map(str, words)]
        yields = self._yields
        # stdin closes with this process, however that ends, and takes the child along.
        with (
            (folder / LOG_FILE).open("wb") as output,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=_scoring_environment(),
                process_group=0,  # out of reach of the terminal's Ctrl-C; a session would be an autogroup of its own
            ) as self._child,
        ):
            with self._priority:
                if self._yields:
                    _yield_to_training(self._child.pid)
            if self._stopped:  # while it was starting
                self._child.terminate()
            code = self._child.wait()
        hurried = yields and not self._yields and not self._stopped
        return self._run(folder) if hurried and code == -signal.SIGTERM else code


def _yield_to_training(pid: int) -> None:
    """Give a process only what processor time is left over.

    Niceness counts among the processes of one autogroup (sched(7)); between two, which is what two sessions are, each
    gets half. An idle-class process also makes room the moment that a training thread wakes up, a nice one after its
    slice of some milliseconds.
    """
    os.setpriority(os.PRIO_PROCESS, pid, 19)
    with suppress(OSError):  # some sandboxes forbid it
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def _scoring_environment() -> dict[str, str]:
    """No GPU, one thread, and no ranks: the scoring process must not disturb training."""
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    path = [str(Path(__file__).resolve().parents[2]), *filter(None, [env.get("PYTHONPATH")])]
    return env | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(path)}
