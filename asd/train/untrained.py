"""In place of a trainer where nothing is trained: one checkpoint, at step 0, and its evaluation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from torch import nn

from asd.distributed.ranks import Ranks
from asd.monitor.stages import Stage
from asd.process.stop import StoppedError, write_stop_marker
from asd.run_folder import checkpoint
from asd.run_folder.checkpoint import Payload
from asd.train.parts import Evaluate
from asd.train.state import TrainState


class NoTraining:
    """Saves a task as it is, unless that was done before, and has it evaluated. Interrupted anywhere, it goes on."""

    def __init__(
        self,
        task: nn.Module,
        ranks: Ranks,
        evaluate: Evaluate,
        checkpoints: Path,
        meta: dict[str, Any],
        config_yaml: str,
        resumed: Payload | None,
    ) -> None:
        if resumed is not None:
            task.load_state_dict(resumed.model)
        self._task, self._ranks, self._evaluate, self._checkpoints = task, ranks, evaluate, checkpoints
        self._meta, self._config_yaml = meta, config_yaml
        self.stage = Stage.START  # what this rank is doing: the watchdog looks
        self.state = TrainState()

    def run(self) -> Literal["finished", "stopped"]:
        try:
            self._ranks.run_on_main(self._save)
            if self._ranks.run_on_main(lambda: self._evaluate.missing(0)):
                self.stage = Stage.EVALUATE
                self._evaluate(self._task, 0, 0.0)
        except StoppedError:
            write_stop_marker()
            return "stopped"
        return "finished"

    def _save(self) -> None:
        if checkpoint.complete_steps(self._checkpoints):
            return
        self.stage = Stage.SAVE
        weights, meta = self._task.state_dict(), {**self._meta, "step": 0, "epoch": 0.0}
        payload = Payload(weights, {}, None, dataclasses.asdict(self.state), meta, self._config_yaml)
        checkpoint.save(self._checkpoints, 0, payload)
