"""Waveform → spectrogram → windows → embeddings: what every task has in common.

Legend: B batch, T samples, C channels, M bins, F frames, P windows of a clip, D embedding.
"""

from __future__ import annotations

from torch import Tensor, nn

from asd.augment.mixup import Mix
from asd.frontends import Mixing, Windows


class Encoder(nn.Module):
    """Frontend, windows where a system cuts clips into them, and the network behind."""

    def __init__(self, frontend: nn.Module, windows: Windows | None, backbone: nn.Module) -> None:
        super().__init__()
        self.frontend = frontend
        self.windows = windows
        self.backbone = backbone

    def forward(self, waveform: Tensor, mix: Mixing | None = None) -> Tensor:
        """(B, T) float32 → (B, P, D); mix combines the spectrograms of clips."""
        return self.embed(self.frontend(waveform) if mix is None else self.frontend(waveform, mix))

    def embed(self, spectrogram: Tensor) -> Tensor:
        """(B, C, M, F) → (B, P, D)."""
        if self.windows is None:
            return self.backbone(spectrogram).unsqueeze(1)
        pieces = self.windows(spectrogram)
        return self.backbone(pieces.flatten(0, 1)).unflatten(0, pieces.shape[:2])

    def features(self, spectrogram: Tensor) -> Tensor:
        """(B, C, M, F) → (B, M), the time mean of the plain spectrogram: what the untrained baselines compare."""
        return plain_mean(self.frontend, spectrogram)


def plain_mean(frontend: nn.Module, spectrogram: Tensor) -> Tensor:
    """(B, C, M, F) → (B, M), the time mean of the channel that is the plain spectrogram."""
    channel: int = frontend.mel_channel  # type: ignore[assignment]
    return spectrogram[:, channel].mean(-1)


def mixed(encoder: Encoder, waveform: Tensor, mix: Mix | None, of: str) -> Tensor:
    """Embeddings (B, P, D) of mixtures of waveforms, or of spectrograms (`of`)."""
    if mix is None:
        return encoder(waveform)
    return encoder(waveform, mix.apply) if of == "spectrogram" else encoder(mix.apply(waveform))
