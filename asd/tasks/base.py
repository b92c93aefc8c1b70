"""What a task is to the trainer and the evaluator: `forward(batch)` to learn, `embed(batch)` to be scored."""

from __future__ import annotations

from torch import nn

from asd.data.batch import Batch
from asd.tasks.step import Embedding, StepOutput


class Task(nn.Module):
    """The one module that DDP wraps."""

    logit_scale: float | None = None  # what cosines were multiplied by to give the logits; None: these are no cosines

    def __init__(self) -> None:
        super().__init__()
        self._frozen: tuple[nn.Module, ...] = ()

    def forward(self, batch: Batch) -> StepOutput:
        """The rank's loss of a training batch."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> Embedding:
        """What evaluation keeps of clips of one length."""
        raise NotImplementedError

    def freeze(self, *parts: nn.Module) -> None:
        """From now on these do not learn; their running statistics and dropout rest, too."""
        self._frozen = parts
        for part in parts:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Task:
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self
