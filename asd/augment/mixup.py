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

MixupInput = Literal["waveform", "spectrogram"]


class MixupConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Weight ~ Beta(alpha, alpha), partners by a random cyclic shift within each group."""

    alpha: pydantic.PositiveFloat = 1.0  # of the Beta distribution of the weights
    uniform: tuple[float, float] | None = None  # instead: weight of the own clip, uniform between these (S4: 0.5 to 1)
    group_size: int = pydantic.Field(8, ge=2)  # clips within which partners are found; divides a rank's batch
    weight_per: Literal["group", "batch", "clip"] = "group"  # one weight for each group, the whole batch, or each clip
    probability: float = pydantic.Field(1.0, gt=0, le=1)  # that a clip is mixed at all; else it stays as it is
    partner: Literal["any", "other_class"] = "any"  # other_class: a clip without such a partner stays as it is
    # waveform: the spectrogram of the mixture. spectrogram: the mixture of the decibels, as TASTgram-MFN was published
    # (learned features still see mixed waveforms).
    input: MixupInput = pydantic.Field("waveform", validation_alias=pydantic.AliasChoices("input", "of"))

    @pydantic.field_validator("uniform")
    @classmethod
    def _within_bounds(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        if bounds is not None and not 0 <= bounds[0] <= bounds[1] <= 1:
            raise ValueError("give two numbers from 0 to 1, the smaller first")
        return bounds


@dataclass(frozen=True)
class Mix:
    """How the rows of a batch are combined: row i becomes weight·x_i + (1 − weight)·x_partner(i)."""

    weight: Tensor  # (B,) float32
    partner: Tensor  # (B,) int64

    def apply(self, signal: Tensor) -> Tensor:
        """(B, …) float32 → the mixtures, same shape."""
        weight = self.weight.view(-1, *[1] * (signal.dim() - 1))
        return torch.lerp(signal[self.partner], signal, weight)

    def to(self, device: torch.device) -> Mix:
        """The same on a device; copies do not block."""
        return Mix(self.weight.to(device, non_blocking=True), self.partner.to(device, non_blocking=True))


def draw_mix(config: MixupConfig, seed: int, epoch: int, step: int, first_row: int, rows: int) -> Mix:
    """The mixture of rows first_row … first_row + rows of the global batch at (epoch, step)."""
    size = config.group_size
    if first_row % size or rows % size:
        raise ValueError(f"rows {first_row}..{first_row + rows} do not hold whole mixing groups of {size}")
    group = np.arange(first_row, first_row + rows) // size
    shift = 1 + np.random.default_rng([seed, epoch, step, 1]).integers(size - 1, size=group[-1] + 1)[group]
    rng, row = np.random.default_rng([seed, epoch, step, 2]), np.arange(rows)
    count = first_row + rows if config.weight_per == "clip" else group[-1] + 1
    draws = rng.uniform(*config.uniform, count) if config.uniform else rng.beta(config.alpha, config.alpha, count)
    weight = draws[{"group": group, "batch": np.zeros_like(row), "clip": first_row + row}[config.weight_per]]
    partner = row - row % size + (row % size + shift) % size
    if config.probability < 1:
        alone = np.random.default_rng([seed, epoch, step, 4]).random(first_row + rows)[first_row:] >= config.probability
        weight, partner = np.where(alone, 1.0, weight), np.where(alone, row, partner)
    return Mix(torch.from_numpy(weight.astype(np.float32)), torch.from_numpy(partner))


def with_other_class(mix: Mix, classes: Tensor, size: int) -> Mix:
    """The same, but each row's partner is the first one from there on, within its group, of another class (B,).

    A row whose group holds no other class is left unmixed. Nothing is read from the device.
    """
    groups = len(classes) // size
    row = torch.arange(size, device=classes.device)
    begin = mix.partner.view(groups, size) % size
    candidate = (begin[..., None] + row) % size  # (groups, size, size): in the order in which they are tried
    own = classes.view(groups, size)
    differs = own[:, None, :].expand(-1, size, -1).gather(2, candidate) != own[..., None]
    chosen = candidate.gather(2, differs.int().argmax(2, keepdim=True)).squeeze(2)
    partner = torch.where(differs.any(2), chosen, row) + size * torch.arange(groups, device=classes.device)[:, None]
    alone = ~differs.any(2).flatten()
    return Mix(mix.weight.masked_fill(alone, 1.0), partner.flatten())


def pair_weights(alpha: float, seed: int, epoch: int, step: int, first: int, pairs: int) -> Tensor:
    """Weights ~ Beta(alpha, alpha) of the global batch's pairs first … first + pairs at (epoch, step), (pairs,)."""
    draws = np.random.default_rng([seed, epoch, step, 3]).beta(alpha, alpha, size=first + pairs)
    return torch.from_numpy(draws[first:].astype(np.float32))
