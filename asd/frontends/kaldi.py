"""Kaldi's log-mel filter bank, which pre-trained encoders hear: of whole batches, on the device.

Legend: B batch, T samples, F frames, M mel bands.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from asd.frontends.power import power_of

RATE = 16_000  # Hz
FRAME, SHIFT, N_FFT = 400, 160, 512  # samples: 25 ms every 10 ms, filled up with zeros
LOWEST = 20.0  # Hz, lower edge of the lowest band
PREEMPHASIS = 0.97
FLOOR = torch.finfo(torch.float32).eps  # least energy, before the logarithm

Window = Literal["povey", "hanning"]


def frames_of(samples: int) -> int:
    """F of T samples: frames lie within the clip."""
    return max(0, 1 + (samples - FRAME) // SHIFT)


def samples_for(frames: int) -> int:
    """The least T that gives so many frames."""
    return FRAME + (frames - 1) * SHIFT


class KaldiBank(nn.Module):
    """(B, T) at 16 kHz → (B, F, M), natural logarithms of the energies, in float32.

    As torchaudio.compliance.kaldi.fbank of every row, without dither: of each frame the mean is taken away and the high
    frequencies are raised; power spectrum of 512 points under the window; triangles on Kaldi's mel scale from 20 Hz up.
    """

    window: Tensor
    bank: Tensor

    def __init__(self, window: Window, bands: int = 128) -> None:
        super().__init__()
        with torch.device("cpu"):  # no weights: they are there also where the rest is a sketch (device meta)
            shape = torch.hann_window(FRAME, periodic=False)
            bank = get_mel_banks(bands, N_FFT, RATE, LOWEST, 0.0, 100.0, -500.0, 1.0)[0]
        self.register_buffer("window", shape.pow(0.85) if window == "povey" else shape, persistent=False)
        self.register_buffer("bank", bank.T.contiguous(), persistent=False)  # (N_FFT / 2, M)

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            frames = waveform.float().unfold(1, FRAME, SHIFT)
            frames = frames - frames.mean(2, keepdim=True)
            before = torch.cat([frames[..., :1], frames[..., :-1]], 2)
            spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * self.window, N_FFT)[..., :-1]
            power = power_of(spectrum)
            return (power @ self.bank).clamp(min=FLOOR).log()
