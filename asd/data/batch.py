"""The batch that the loader gives to a training step. Legend: B clips of this rank, T samples."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Clips of one rank for one step. The waveform lies in a reused buffer: valid until the next batch is asked for."""

    waveform: Tensor  # (B, T) int16, of the (near) microphone; clips shorter than T are repeated to fill it
    frames: Tensor  # (B,) int64, samples read before any repeat
    clip_index: Tensor  # (B,) int64, rows of the clips table
    class_index: Tensor  # (B,) int64
    domain: Tensor  # (B,) int64, index into manifest.DOMAINS
    valid: Tensor  # (B,) bool, False where a clip could not be read (its row is silence)
    epoch: int
    step: int  # step within the epoch
    first_row: int  # this rank's first row in the global batch
    proxy_index: Tensor | None = None  # (B,) int64, where finer classes than class_index are told apart; -1: none
    is_fault: Tensor | None = None  # (B,) bool, known faults of class_index; None: the set has none
    reference: Tensor | None = None  # (B, T) int16, of the reference microphone; None: not asked for, or there is none
    is_placeholder: bool = False  # silence where no batch came before the run was to stop: not to be learnt

    @property
    def target(self) -> Tensor:
        """(B,) int64, the class that a classifier shall name; -1: none."""
        return self.class_index if self.proxy_index is None else self.proxy_index

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; copies from pinned memory do not block."""
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

    def split(self, parts: int) -> list[Batch]:
        """Equal consecutive pieces, for gradient accumulation."""
        if parts == 1:
            return [self]
        size = len(self.clip_index) // parts
        return [self.rows(part * size, (part + 1) * size) for part in range(parts)]

    def rows(self, begin: int, end: int) -> Batch:
        """The clips of rows begin to end (exclusive)."""
        cut = {
            f.name: getattr(self, f.name)[begin:end] for f in fields(self) if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **cut, first_row=self.first_row + begin)


def to_float(waveform: Tensor) -> Tensor:
    """(B, T) int16 → (B, T) float32 in [-1, 1)."""
    return waveform.float().mul_(1.0 / 32768.0)
