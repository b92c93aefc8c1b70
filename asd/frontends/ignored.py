"""Bands of frequency that a network shall not hear, such as a site's recurring noise. Legend: M bins, F frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.frontends.base import Frontend

Band = tuple[float, float]  # Hz, both included


def in_words(bands: Sequence[Band]) -> str:
    """`50, 1000-1100 Hz`."""
    return ", ".join(f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in bands) + " Hz"


def fill(ranges: Tensor, bands: Sequence[Band]) -> Tensor:
    """(M, M): what bins of the given ranges (M, 2) in Hz are made of. Those that hear any of the bands are drawn as a
    line between the nearest others, so that they say nothing of their own and look like what a network knows.

    UserError where a band lies beyond all bins, or none is left.
    """
    hears = torch.zeros(len(ranges), dtype=torch.bool)
    for low, high in bands:
        own = (ranges[:, 0] <= high) & (ranges[:, 1] >= low)
        if not own.any():
            raise UserError(f"ignored band {low:g}-{high:g} Hz: the detector hears {_heard(ranges)}")
        hears |= own
    kept = (~hears).nonzero().flatten().double()
    if not len(kept):
        raise UserError(f"the ignored bands leave nothing of what the detector hears, {_heard(ranges)}: ignore less")
    place = torch.arange(len(ranges), dtype=torch.float64).clamp(kept[0], kept[-1])
    right = torch.searchsorted(kept, place)
    left = (right - (kept[right] > place).long()).clamp_min(0)
    gap = kept[right] - kept[left]
    weight = torch.where(gap > 0, (place - kept[left]) / gap.clamp_min(1.0), 0.0)
    rows, matrix = torch.arange(len(ranges)), torch.zeros(len(ranges), len(ranges), dtype=torch.float64)
    matrix[rows, kept[left].long()] += 1 - weight
    matrix[rows, kept[right].long()] += weight
    return matrix.float()


def fill_of(network: nn.Module, bands: Sequence[Band]) -> Tensor:
    """(M, M): what the bins of the network's frontend are made of where it does not hear the bands.

    UserError where its frontend has no axis of frequency, or learns filters of its own.
    """
    frontend = _frontend(network)
    ranges = frontend.bin_ranges()
    if ranges is None:
        raise UserError(
            f"ignored bands: frontend {type(frontend).__name__} gives the network more than bins of known frequency; "
            "log_mel and stft can ignore bands"
        )
    return fill(ranges.cpu(), bands).to(ranges.device)


@contextmanager
def ignoring(network: nn.Module, bands: Sequence[Band]) -> Iterator[None]:
    """While the block runs, the network's frontend does not hear the bands. UserError where it cannot do so."""
    with heard_through(network, fill_of(network, bands)) if bands else nullcontext():
        yield


@contextmanager
def heard_through(network: nn.Module, matrix: Tensor) -> Iterator[None]:
    """While the block runs, the bins of the network's frontend are multiplied by the matrix (M, M)."""

    def ignore(module: nn.Module, given: object, spectrogram: Tensor) -> Tensor:
        with torch.autocast(spectrogram.device.type, enabled=False):
            return matrix @ spectrogram

    hook = _frontend(network).register_forward_hook(ignore)
    try:
        yield
    finally:
        hook.remove()


def _frontend(network: nn.Module) -> Frontend:
    return next(part for part in network.modules() if isinstance(part, Frontend))


def _heard(ranges: Tensor) -> str:
    return f"{max(float(ranges.min()), 0.0):g} to {float(ranges.max()):g} Hz"
