"""What all ranks must know at every step: stop signals, updates that were not finite, clips unreadable or missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from asd.data.batch import Batch
from asd.process.stop import write_stop_marker

STOP, BAD_CLIPS, MISSING = 1, 2, 3  # the places of flags; the first says that something was not finite


class FlaggedTask(nn.Module):
    """A task and four flags that DDP averages among the gradients: telling all ranks costs no collective of its own.

    A flag that any rank raises is above 0 on all ranks after the backward pass.
    """

    calm: Tensor
    nonfinite: Tensor

    def __init__(self, task: nn.Module) -> None:
        super().__init__()
        self.task = task
        self.flags = nn.Parameter(torch.zeros(4))  # stay 0: only their gradient says something
        self.register_buffer("calm", torch.zeros(4), persistent=False)
        self.register_buffer("nonfinite", torch.tensor([1.0, 0.0, 0.0, 0.0]), persistent=False)

    def forward(self, batch: Batch, stop: bool, bad_clips: bool) -> Any:
        """The task's own StepOutput. A loss that is not finite raises the first flag, as that of a missing batch is."""
        output = self.task(batch)
        raised = torch.where(torch.isfinite(output.loss.detach()), self.calm, self.nonfinite)
        for flag, told in ((STOP, stop), (BAD_CLIPS, bad_clips), (MISSING, batch.missing)):
            if told:  # `raised[flag] = 1` would copy a number from the host, and wait for all that was launched
                raised[flag].fill_(1)
        loss = output.loss * torch.nan if batch.missing else output.loss  # so that the step changes no rank
        return replace(output, loss=_Raise.apply(loss, self.flags, raised))

    def pop_flags(self, nonfinite: Tensor | None) -> Tensor:
        """What all ranks raised in this step, (4,), and whether its gradient (a scalar, 1.0) was not finite either."""
        raised, self.flags.grad = self.flags.grad, None
        assert raised is not None
        return raised.clone() if nonfinite is None else torch.addcmul(raised, nonfinite, self.nonfinite)


class _Raise(torch.autograd.Function):
    """The loss as it is; the gradient of the flags is what was raised."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, flags: Tensor, raised: Tensor) -> Tensor:
        ctx.save_for_backward(raised)
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        return grads[0], ctx.saved_tensors[0], None


@dataclass(frozen=True)
class Seen:
    """What any rank reported of a step."""

    step: int
    nonfinite: bool
    stop: bool
    bad_clips: bool
    missing: bool


class FlagReader:
    """Reads the flags of a step one step later, so that nobody waits for a GPU: launches run ahead of it meanwhile."""

    def __init__(self) -> None:
        self._unread: deque[_Flags] = deque()

    def add(self, step: int, flags: Tensor) -> None:
        """Take the flags (4,) of a step, over all ranks."""
        self._unread.append(_Flags(step, flags))

    def read(self, unread: int = 0) -> Iterator[Seen]:
        """What was raised, step by step; the newest `unread` stay for later."""
        while len(self._unread) > unread:
            seen = self._unread.popleft().read()
            if seen.stop:
                write_stop_marker()
            yield seen


class _Flags:
    """Four numbers on their way to the host."""

    def __init__(self, step: int, flags: Tensor) -> None:
        self._step, self._flags = step, flags
        self._copied: torch.cuda.Event | None = None
        if flags.device.type == "cuda":
            self._flags = torch.empty(flags.shape, pin_memory=True).copy_(flags, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def read(self) -> Seen:
        if self._copied is not None:
            self._copied.synchronize()
        return Seen(self._step, *(value > 0 for value in self._flags.tolist()))
