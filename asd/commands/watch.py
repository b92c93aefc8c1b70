"""Scores the checkpoints of a run as they appear, in a separate process, on any machine that sees the run folder.

All that it knows lies in that folder: it may be killed at any time, and the next one does what was not finished.
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.commands.open_run import CheckpointEmbedder, Run, config_file, load_run
from asd.distributed.ranks import Ranks
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.evaluate.background import BackgroundScoring
from asd.evaluate.history import best_step, is_scored, show_best, steps_in_words, unscored_steps
from asd.evaluate.store import EMBEDDINGS_FILE, read_evaluation
from asd.process.stop import AskedToStop, StopSignal
from asd.run_folder import checkpoint, pruning
from asd.run_folder.lock import WatchLock
from asd.run_folder.paths import RunFolder

log = logging.getLogger(__name__)

AHEAD = 2  # evaluations that are scored, or embedded and wait for that


@dataclass(frozen=True)
class Options:
    """How long to watch."""

    once: bool = False  # score what is there, and leave
    forever: bool = False  # stay when the run is finished
    poll_s: float = 10.0


def watch(root: Path, overrides: Sequence[str], options: Options, stop: StopSignal) -> None:
    """Score the checkpoints of a run until it is finished. Raises AskedToStop where a signal ends it before."""
    if not options.once:
        _wait_for_run(root, options.poll_s)
    distributed = load_run(root, overrides).config.distributed
    with WatchLock(root) as lock:
        lock.take()
        with start_ranks(distributed.precision, distributed.timeout_s) as ranks:
            watcher = Watcher(ranks, lambda: load_run(root, overrides), options, stop)
            try:
                watcher.run()
            except AskedToStop as stopped:
                raise AskedToStop(f"{stopped}, {watcher.left_in_words()}") from None
            finally:
                watcher.close()


def _wait_for_run(root: Path, poll_s: float) -> None:
    folder = RunFolder(root)
    if config_file(folder) is None:
        log.info(f"waiting for {root}, {'which contains no run' if root.is_dir() else 'which does not exist'} yet")
        while config_file(folder) is None:
            time.sleep(poll_s)


class Watcher:
    """Embeds one checkpoint after the other, while the one before is scored in a process beside."""

    def __init__(self, ranks: Ranks, load: Callable[[], Run], options: Options, stop: StopSignal) -> None:
        self._ranks, self._load, self._options, self._stop = ranks, load, options, stop
        self._tried: dict[int, int | None] = {}  # step → when the checkpoint that was tried had been saved
        self._incomplete: set[Path] = set()
        self._open(load())

    def _open(self, run: Run) -> None:
        self._run, self._folder, self._own = run, run.folder, run.config.evaluate.by_watcher
        self._embedder = CheckpointEmbedder(run, self._ranks)
        self._schedule = self._embedder.setup.evaluations
        self._background = BackgroundScoring(run.folder, self._embedder.setup.data.manifest.root, run.config.logging)

    def close(self) -> None:
        """End what is under way."""
        self._background.stop()
        self._embedder.close()

    def run(self) -> None:
        """Score what is there and what comes, to the end of the run."""
        self._introduce()
        said = ""
        while True:
            self._stop.leave_if_asked()
            end, idle = self._end(), self._background.done_within(0)  # first: what comes after these is still scored
            if self._is_finished():
                self._background.hurry()
            if self._background.pending >= AHEAD:  # embeddings take room until they are scored
                self._background.done_within(min(self._options.poll_s, 1.0))
            elif (step := next(iter(self._to_try()), None)) is not None:
                self._try(step)
            elif not idle:
                self._background.done_within(self._options.poll_s)
            else:
                if end and end != said:
                    self._sum_up(end)
                    said = end
                if end and not self._options.forever:
                    return
                self._wait()

    def _introduce(self) -> None:
        ranks, folder = self._ranks, self._folder.root
        log.info(f"watching {folder} on {ranks.device.type} in {ranks.precision}: {self.left_in_words()}")
        if not self._own:
            others = "the others are scored here" if self._run.config.checkpoint.every_steps else "it saves no others"
            log.info(
                f"its own ranks score every {self._schedule.steps} steps (evaluate.by_watcher=false); "
                f"{others} (checkpoint.every_steps)"
            )

    def _to_try(self) -> list[int]:
        """Steps whose checkpoint, as it is, was not tried yet."""
        return [s for s in self._left() if s not in self._tried or self._saved_at(s) not in (None, self._tried[s])]

    def _left(self) -> list[int]:
        """Steps that are to be scored here, oldest first, those before all others that training keeps until then."""
        steps = [step for step in checkpoint.all_steps(self._folder.checkpoints) if self._is_ours(step)]
        unscored = {step for step in steps if not is_scored(self._folder, step) and self._is_complete(step)}
        embedded = unscored_steps(self._folder) if self._own else []
        return sorted(unscored.union(embedded), key=lambda step: (not self._schedule.due(step), step))

    def _is_ours(self, step: int) -> bool:
        if self._schedule.due(step):
            return self._own
        return self._run.config.checkpoint.every_steps is not None  # else it was saved for a resume alone

    def _is_complete(self, step: int) -> bool:
        """Whether a checkpoint is whole; where it is not, one warning. Copied ones may become so."""
        path = self._checkpoint(step)
        if checkpoint.is_complete(path):
            return True
        if path.exists() and path not in self._incomplete:
            self._incomplete.add(path)
            log.warning(f"{path} is not complete: skipped")
        return False

    def _checkpoint(self, step: int) -> Path:
        return checkpoint.step_path(self._folder.checkpoints, step)

    def _saved_at(self, step: int) -> int | None:
        try:
            return (self._checkpoint(step) / checkpoint.COMPLETE).stat().st_mtime_ns
        except OSError:
            return None

    def _try(self, step: int) -> None:
        """Embed a checkpoint, unless that is done already, and have it scored."""
        self._tried[step] = self._saved_at(step)
        target = self._folder.evaluation(step)
        if read_evaluation(target) is None or not (target / EMBEDDINGS_FILE).exists():
            try:
                self._embedder.embed(step, target, show_progress=sys.stderr.isatty())
            except UserError as error:
                log.warning(f"{error}: skipped" if self._checkpoint(step).exists() else self._pruned(step))
                return
            if not self._checkpoint(step).exists():  # it may not become the best one
                shutil.rmtree(target)
                log.warning(self._pruned(step))
                return
        self._background.submit(step)
        for failed in self._background.give_up(self._run.config.evaluate.max_unscored, spare=None):
            log.warning(f"step {failed} could not be scored: its embeddings are removed (evaluate.max_unscored)")

    def _pruned(self, step: int) -> str:
        return f"{self._checkpoint(step)} was removed before it was scored (checkpoint.keep_last): skipped"

    def _end(self) -> str:
        """Why there is nothing more to come; empty where something may."""
        if self._is_finished():
            return f"finished at step {self._schedule.last}"
        return "scored what is there" if self._options.once else ""

    def _is_finished(self) -> bool:
        """Whether the last checkpoint is there, and whole: where a folder is copied over, it may be arriving."""
        steps = checkpoint.all_steps(self._folder.checkpoints)
        return any(step >= self._schedule.last and checkpoint.is_complete(self._checkpoint(step)) for step in steps)

    def _sum_up(self, end: str) -> None:
        scored = sum(is_scored(self._folder, step) for step in self._tried)
        if self._own:
            show_best(self._folder, self._run.config.evaluate.select, self._background.told)
        log.info(f"{end}: {scored} scored here, {self.left_in_words()}")
        if self._own and self._is_finished():
            self._prune()

    def _prune(self) -> None:
        """Remove what training kept for the watcher alone, and would have removed itself if it still went on."""
        best = best_step(self._folder, self._run.config.evaluate.select)
        protected = {*self._left(), *([] if best is None else [best])}
        pruning.prune(self._folder.checkpoints, self._run.config.checkpoint, protected)

    def left_in_words(self) -> str:
        """How many checkpoints wait for their scores, those that were skipped among them."""
        left = self._left()
        return f"{len(left)} to be scored" + (f" ({steps_in_words(left)})" if left else "")

    def _wait(self) -> None:
        """For new checkpoints, and for a config with which training goes on differently."""
        time.sleep(self._options.poll_s)
        run = self._load()
        if run.config != self._run.config:
            self.close()
            self._tried.clear()
            self._open(run)
