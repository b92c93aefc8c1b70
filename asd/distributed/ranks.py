"""The ranks of a job, and work that all of them do together or rank 0 does for all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn

from asd.distributed.cpu import use_vector_prelu
from asd.errors import UserError, describe_os_error

T = TypeVar("T")
PIECE_BYTES = 1 << 26  # of one message


@dataclass(frozen=True)
class Ranks:
    """This process among all that train together."""

    accelerator: Accelerator
    rank: int
    world_size: int
    device: torch.device
    precision: Literal["bf16", "fp16", "fp32"]

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        return self.accelerator.autocast()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Model in DDP and autocast."""
        if self.device.type == "cpu":
            use_vector_prelu(model)
        with warnings.catch_warnings():  # newer torch renames broadcast_buffers; older knows no other name
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
            return self.accelerator.prepare(model)

    def run_on_all(self, work: Callable[[], T]) -> T:
        """Do work on every rank; where it fails on any, all raise the first rank's words together."""
        attempt = _attempt(work)
        problems = [p for p in self.gather_objects(attempt.problem) if p is not None]
        if problems:
            raise UserError(problems[0])
        return attempt.result

    def run_on_main(self, work: Callable[[], T]) -> T:
        """Do work on rank 0 alone and give its result to all; its failure is everybody's."""
        attempt: _Attempt = self.gather_objects(_attempt(work) if self.is_main else None)[0]
        if attempt.problem is not None:
            raise UserError(attempt.problem)
        return attempt.result

    def gather_objects(self, value: Any) -> list[Any]:
        """The value of every rank, in rank order, on every rank: pickled, so for a few words, not for large tensors."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def gather_rows(self, rows: Tensor) -> Tensor | None:
        """Rows (n, …) of all ranks, n differing, as one CPU tensor on rank 0; None elsewhere.

        Rank 0 receives each row where it belongs, so that it holds them once.
        """
        rows = rows.cpu().contiguous()
        counts = self.gather_objects(len(rows))
        if self.world_size == 1:
            return rows
        if not self.is_main:
            for piece in _pieces(rows):
                dist.send(piece, 0)
            return None
        whole = rows.new_empty(sum(counts), *rows.shape[1:])
        whole[: len(rows)] = rows
        for rank, part in enumerate(whole.split(counts)):
            for piece in _pieces(part) if rank else ():
                dist.recv(piece, rank)
        return whole

    def sum(self, values: Tensor) -> Tensor | None:
        """Element-wise sum over ranks on rank 0, None elsewhere; the CPU tensor itself is overwritten."""
        if self.world_size > 1:
            dist.reduce(values, 0)
        return values if self.is_main else None

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether any rank raises it: a collective of a few bytes between hosts, no wait for a GPU."""
        if self.world_size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return tuple(flag > 0 for flag in raised.tolist())

    def mean(self, values: Tensor) -> Tensor:
        """Element-wise mean over ranks; the values themselves are overwritten."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values / self.world_size


def _pieces(rows: Tensor) -> Iterator[Tensor]:
    """The rows in order, in messages of a moderate size; none of nothing."""
    if rows.numel():
        yield from rows.split(max(1, PIECE_BYTES // (rows[0].numel() * rows.element_size())))


@dataclass(frozen=True)
class _Attempt:
    """What came of work: its result, or one line on why there is none."""

    result: Any
    problem: str | None


def _attempt(work: Callable[[], object]) -> _Attempt:
    try:
        return _Attempt(work(), None)
    except UserError as error:
        return _Attempt(None, str(error))
    except OSError as error:
        return _Attempt(None, describe_os_error(error))
