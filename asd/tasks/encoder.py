"""Waveform → spectrogram → windows → embeddings: what every task has in common.

Legend: B batch, T samples, C channels, M bins, F frames, P windows of a clip, D embedding, S statistics, m × f
positions of a map.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asd.augment.mixup import Mix, MixupInput
from asd.backbones.base import View
from asd.data.batch import Batch, to_float
from asd.frontends import Frontend
from asd.tasks.base import Embedding, Parts

NETWORK_VIEW = "network"  # what a network gives, where statistics stand beside it


class Encoder(nn.Module):
    """Frontend, windows where a system cuts clips into them, and the network behind."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        assert parts.backbone is not None
        self.frontend = parts.frontend
        self.windows = parts.windows
        self.backbone = parts.backbone
        self.statistics = parts.statistics

    @property
    def views(self) -> Mapping[str, View]:
        """Parts of what evaluation keeps that scorers may read by themselves."""
        if self.statistics is None:
            return self.backbone.views
        size, own = self.backbone.embedding_dim, self.statistics.views
        beside = {name: View(first + size, behind + size, bands) for name, (first, behind, bands) in own.items()}
        return {NETWORK_VIEW: View(0, size, size), **self.backbone.views, **beside}

    def with_statistics(self, embedding: Tensor, spectrogram: Tensor) -> Tensor:
        """(B, P, D) of (B, C, M, F) → (B, P, D + S), the clip's statistics beside each of its windows; (B, P, D) where
        the system has none."""
        if self.statistics is None:
            return embedding
        found = self.statistics(self.frontend.plain(spectrogram).unsqueeze(1))
        return torch.cat([embedding, found.unsqueeze(1).expand(-1, embedding.shape[1], -1)], 2)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) float32 → (B, P, D), all windows of clips."""
        return self.embed(self.frontend(waveform))

    def embed(self, spectrogram: Tensor) -> Tensor:
        """(B, C, M, F) → (B, P, D), all windows of clips."""
        return self.embed_pieces(self.cut(spectrogram))

    def cut(self, spectrogram: Tensor, places: Tensor | None = None) -> Tensor:
        """(B, C, M, F) → (B, P, C', M, frames): all windows, or those at `places` (B, P); clips without any."""
        return spectrogram.unsqueeze(1) if self.windows is None else self.windows(spectrogram, places)

    def places(self, spectrogram: Tensor, batch: Batch) -> Tensor | None:
        """Which windows of a training batch's clips are learnt from in this step, (B, P); None: all of them."""
        if self.windows is None:
            return None
        return self.windows.places(spectrogram.shape[-1], batch.clip_index, batch.epoch, batch.step)

    def embed_pieces(self, pieces: Tensor) -> Tensor:
        """(B, P, C', M, frames) → (B, P, D)."""
        return self.backbone(pieces.flatten(0, 1)).unflatten(0, pieces.shape[:2])

    def maps(self, pieces: Tensor) -> Tensor:
        """(B, P, C', M, frames) → (B, P, D, m, f), the last maps of a backbone that shows them."""
        return self.backbone.forward_map(pieces.flatten(0, 1)).unflatten(0, pieces.shape[:2])


def embedding_alone(encoder: Encoder, batch: Batch) -> Embedding:
    """What evaluation keeps where no classes are told apart and a single clip has no loss."""
    spectrogram = encoder.frontend(to_float(batch.waveform))
    embedding = encoder.embed(spectrogram).float()
    clips, windows = embedding.shape[:2]
    return Embedding(
        encoder.with_statistics(embedding, spectrogram),
        embedding.new_empty(clips, windows, 0),
        embedding.new_empty(clips, 0),
        encoder.frontend.features(spectrogram),
        embedding.new_full((clips,), torch.nan),
    )


def mixed(frontend: Frontend, waveform: Tensor, mix: Mix | None, what: MixupInput) -> Tensor:
    """Spectrograms (B, C, M, F) of mixtures of waveforms, or mixtures of spectrograms (`what`)."""
    if mix is None:
        return frontend(waveform)
    return frontend(waveform, mix.apply) if what == "spectrogram" else frontend(mix.apply(waveform))
