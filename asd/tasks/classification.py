"""Telling machines apart: frontend → backbone → class centres, with mixup.

Legend: B batch, T samples, D embedding, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.augment.mixup import Mix, MixupConfig, draw_mix
from asd.data.batch import Batch, to_float
from asd.losses.base import ClassificationLoss
from asd.tasks.step import Embedding, StepOutput


class Classification(nn.Module):
    """The one module that DDP wraps."""

    def __init__(
        self, frontend: nn.Module, backbone: nn.Module, loss: ClassificationLoss, mixup: MixupConfig | None, seed: int
    ) -> None:
        super().__init__()
        self.frontend = frontend
        self.backbone = backbone
        self.loss = loss
        self.mixup = mixup
        self.seed = seed
        self.frozen = False

    def freeze_network(self) -> None:
        """From now on only the class centres learn; running statistics and dropout of the network rest, too."""
        self.frozen = True
        for part in (self.frontend, self.backbone):
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> Classification:
        super().train(mode)
        if self.frozen:
            self.frontend.eval()
            self.backbone.eval()
        return self

    @property
    def logit_scale(self) -> float | None:
        """What cosines were multiplied by to give the logits, None where these are no cosines."""
        return self.loss.scale

    def forward(self, batch: Batch) -> StepOutput:
        """Mean loss of the rank's clips; unreadable clips (and mixtures with them) weigh nothing."""
        mix = self._mix(batch)
        valid = batch.valid & batch.valid[mix.partner]
        embedding = self.backbone(self._features(to_float(batch.waveform), mix))
        losses = self.loss(embedding, batch.class_index, batch.class_index[mix.partner], mix.weight)
        return StepOutput((losses * valid).mean())

    @torch.no_grad()
    def embed(self, batch: Batch) -> Embedding:
        """Embeddings, logits and features of unmixed clips of any one length, in float32."""
        spectrogram = self.frontend(to_float(batch.waveform))
        embedding = self.backbone(spectrogram).float()
        with torch.autocast(embedding.device.type, enabled=False):
            logits = self.loss.logits(embedding)
        loss = F.cross_entropy(logits, batch.class_index, reduction="none")
        features = spectrogram[:, self.frontend.mel_channel].mean(-1)
        return Embedding(embedding, logits, features, loss)

    def _features(self, waveform: Tensor, mix: Mix) -> Tensor:
        if self.mixup is None:
            return self.frontend(waveform)
        if self.mixup.of == "spectrogram":
            return self.frontend(waveform, mix.apply)
        return self.frontend(mix.apply(waveform))

    def _mix(self, batch: Batch) -> Mix:
        rows, device = len(batch.class_index), batch.class_index.device
        if self.mixup is None:
            return Mix(torch.ones(rows, device=device), torch.arange(rows, device=device))
        mix = draw_mix(self.mixup, self.seed, batch.epoch, batch.step, batch.first_row, rows)
        return Mix(_move(mix.weight, device), _move(mix.partner, device))


def _move(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)
