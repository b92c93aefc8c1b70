"""Evaluation during training: all ranks embed, a low-priority process of rank 0 scores."""

from __future__ import annotations

import logging

from torch import nn

from asd.errors import UserError
from asd.evaluate.background import BackgroundScoring
from asd.evaluate.evaluator import Evaluator
from asd.evaluate.history import best_step, most_to_keep, outdated_steps, waiting_steps
from asd.evaluate.store import read_evaluation
from asd.loggers import LoggingConfig
from asd.loggers.base import Logger
from asd.process.stop import StopSignal
from asd.run_folder import checkpoint
from asd.train.cadence import Every

log = logging.getLogger(__name__)


class TrainingEvaluator:
    """The `evaluate` that a trainer calls: embed, hand over to a background process, show what came back.

    With evaluate.by_watcher it only keeps the checkpoints for whoever scores them.
    """

    def __init__(self, evaluator: Evaluator, trackers: LoggingConfig, loggers: Logger, schedule: Every) -> None:
        self.evaluator, self.loggers, self.schedule = evaluator, loggers, schedule
        self.folder, self.ranks, self.by_watcher = evaluator.folder, evaluator.ranks, evaluator.config.by_watcher
        self.background = BackgroundScoring(self.folder, evaluator.loader.manifest.root, trackers)

    def __call__(self, task: nn.Module, step: int, epoch: float) -> None:
        if self.by_watcher:
            return
        evaluation = self.evaluator.embed(task, step, epoch, self.folder.evaluation(step))
        if self.ranks.is_main:
            if evaluation.validation is not None:
                numbers = evaluation.validation.scalars()
                self.loggers.log(step, numbers)
                words = [f"{name.removeprefix('validation/')} {value:.4g}" for name, value in numbers.items()]
                log.info(f"step {step} validation {', '.join(words)}", extra={"fields": {"step": step, **numbers}})
            if step == self.schedule.last:
                self.background.hurry()
            self.background.submit(step)
            self._give_up()

    def _give_up(self) -> None:
        """Where scoring falls behind, drop the oldest evaluations, never the best one: disks are finite."""
        allowed, best = self.evaluator.config.max_unscored, best_step(self.folder, self.evaluator.config.select)
        most = most_to_keep(self.folder, allowed)
        why = f"evaluate.max_unscored={allowed}" if most == allowed else "the disk has no room for one more evaluation"
        for step in self.background.give_up(most, spare=best):
            log.warning(f"scoring falls behind: step {step} stays unscored ({why})")

    def renew(self, task: nn.Module) -> None:
        """Embed anew, with the weights of their checkpoints, what another version of this program left unscored."""
        if self.by_watcher:
            return
        for step in self.ranks.run_on_main(lambda: outdated_steps(self.folder)):
            path = checkpoint.step_path(self.folder.checkpoints, step)
            try:
                weights, meta = self.ranks.run_on_all(lambda path=path: checkpoint.load_network(path))  # type: ignore[misc]
            except UserError as error:
                if self.ranks.is_main:
                    log.warning(f"{error}: step {step} stays unscored")
                continue
            task.load_state_dict(weights)
            self.evaluator.embed(task, step, meta["epoch"], self.folder.evaluation(step))

    def __enter__(self) -> TrainingEvaluator:
        if self.ranks.is_main and not self.by_watcher:
            self.background.submit_unscored()
            self._give_up()
        return self

    def __exit__(self, *_: object) -> None:
        self.background.stop()

    def wait(self, stop: StopSignal) -> None:
        """Until all that was embedded is scored, or a signal says to leave. Training has ended."""
        self.background.hurry()
        self.background.wait(stop)

    def due(self, step: int) -> bool:
        return self.schedule.due(step)

    def missing(self, step: int) -> bool:
        """Whether a checkpoint that these ranks embed was not embedded yet."""
        return not self.by_watcher and read_evaluation(self.folder.evaluation(step)) is None

    def protected_steps(self) -> set[int]:
        """Steps whose checkpoint must stay: the best one, and those still to be scored."""
        config = self.evaluator.config
        best = best_step(self.folder, config.select)
        return {*self.waiting()[-config.max_unscored :], *([] if best is None else [best])}

    def waiting(self) -> list[int]:
        """Steps that were embedded, or are left to a watcher, and have no scores yet."""
        return waiting_steps(self.folder, self.due if self.by_watcher else None)
