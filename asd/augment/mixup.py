"""Mixup (Zhang et al. 2018) inside small groups of neighbouring rows.

Legend: B rows of this rank, T samples. The weights and partners are functions of (seed, epoch, step, group), so the
same clips are mixed in the same way on any number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pydantic
import torch
from torch import Tensor


class MixupConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Weight ~ Beta(alpha, alpha), partners by a random cyclic shift within each group."""

    alpha: pydantic.PositiveFloat = 1.0
    group_size: int = pydantic.Field(8, ge=2)
    weight_per: Literal["group", "batch"] = "group"
    # waveform: the spectrogram of the mixture. spectrogram: the mixture of the decibels, as TASTgram-MFN was published
    # (learned features still see mixed waveforms).
    of: Literal["waveform", "spectrogram"] = "waveform"


@dataclass(frozen=True)
class Mix:
    """How the rows of a batch are combined: row i becomes weight·x_i + (1 − weight)·x_partner(i)."""

    weight: Tensor  # (B,) float32
    partner: Tensor  # (B,) int64

    def apply(self, signal: Tensor) -> Tensor:
        """(B, …) float32 → the mixtures, same shape."""
        weight = self.weight.view(-1, *[1] * (signal.dim() - 1))
        return torch.lerp(signal[self.partner], signal, weight)


def draw_mix(config: MixupConfig, seed: int, epoch: int, step: int, first_row: int, rows: int) -> Mix:
    """The mixture of rows first_row … first_row + rows of the global batch at (epoch, step)."""
    size = config.group_size
    if first_row % size or rows % size:
        raise ValueError(f"rows {first_row}..{first_row + rows} do not hold whole mixing groups of {size}")
    group = np.arange(first_row, first_row + rows) // size
    shift = 1 + np.random.default_rng([seed, epoch, step, 1]).integers(size - 1, size=group[-1] + 1)[group]
    draws = np.random.default_rng([seed, epoch, step, 2]).beta(config.alpha, config.alpha, size=group[-1] + 1)
    weight = draws[group] if config.weight_per == "group" else np.full(rows, draws[0])
    row = np.arange(rows)
    partner = row - row % size + (row % size + shift) % size
    return Mix(torch.from_numpy(weight.astype(np.float32)), torch.from_numpy(partner))
