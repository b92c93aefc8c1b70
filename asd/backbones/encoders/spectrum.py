"""The power spectrum that several encoders hear. Legend: B batch, T samples, F frames, N points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asd.frontends.power import power_of


def power_spectrum(waveform: Tensor, window: Tensor, hop: int) -> Tensor:
    """(B, T) float32 → (B, F, N / 2 + 1), F = 1 + T // hop: of frames around every hop-th sample, both ends reflected.

    window (N,). As torch.stft, which does not export to ONNX. T must be above N / 2.
    """
    side = len(window) // 2
    padded = F.pad(waveform.unsqueeze(1), (side, side), mode="reflect").squeeze(1)
    spectrum = torch.fft.rfft(padded.unfold(1, len(window), hop) * window)
    return power_of(spectrum)
