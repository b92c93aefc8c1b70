"""Telling machines apart, and beside it each machine from all that it is not: clips of the other machines, and known
faults of its own where there are some.

After Serial-OE (Kuroyanagi, Hayashi, Takeda, Toda 2025, arXiv 2505.18982), where known faults are treated like clips of
other machines. Differences: one network with a binary head for each machine, where Serial-OE trains one for each
machine type; a linear head, where it takes the length of the embedding; the other machines' clips are those of the same
batch, where it draws as many of them as of its own; the loss of the machines is the config's, where it is a binary
cross-entropy too, ten times as heavy.

Legend: B batch, P windows of a clip, D embedding, A machines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from asd.augment.mixup import Mix
from asd.data.batch import Batch
from asd.tasks.base import Embedding, Parts, StepOutput, TaskSettings
from asd.tasks.classification import Classification, ClassificationConfig


class OutlierExposureConfig(TaskSettings, frozen=True):
    """Loss of the machines' normal clips + fault_weight · loss of the binary heads. Known faults come by
    data.streams.fault_rows, clips of machines that the run is not about by data.streams.outliers.
    """

    may_mix: ClassVar[bool] = True
    may_have_outliers: ClassVar[bool] = True
    may_have_faults: ClassVar[bool] = True
    takes_maps: ClassVar[bool] = False

    name: Literal["outlier_exposure"] = "outlier_exposure"
    fault_weight: pydantic.PositiveFloat = 1.0

    def gives(self) -> set[str]:
        return super().gives() | {"faults"}


class OutlierExposure(Classification):
    """A classifier with one more linear layer, of one output for each machine."""

    def __init__(self, config: OutlierExposureConfig, parts: Parts) -> None:
        super().__init__(ClassificationConfig(), replace(parts, outliers=False))  # the heads have them
        self.fault_weight = config.fault_weight
        self.head = nn.Linear(self.encoder.backbone.embedding_dim, parts.machines)

    def compare(self, embedding: Tensor, batch: Batch, mix: Mix | None) -> StepOutput:
        """A mixture with a known fault or an outlier is no sound of a machine, and left to the heads."""
        normal = batch.class_index >= 0
        normal = normal if batch.is_fault is None else normal & ~batch.is_fault
        classes = super().compare(embedding, replace(batch, valid=batch.valid & normal), mix).loss
        losses = fault_loss(self._faults(embedding), batch.class_index, ~normal)
        valid = batch.valid
        if mix is not None:
            others = fault_loss(self._faults(embedding), batch.class_index[mix.partner], ~normal[mix.partner])
            losses, valid = mix.weight * losses + (1 - mix.weight) * others, valid & valid[mix.partner]
        faults = (losses * valid).mean()
        logs = {"loss_classes": classes.detach(), "loss_faults": faults.detach()}
        return StepOutput(classes + self.fault_weight * faults, logs)

    @torch.no_grad()
    def embed(self, batch: Batch) -> Embedding:
        found = super().embed(batch)
        network = found.embedding[..., : self.head.in_features]  # statistics may stand beside it
        return replace(found, faults=self._faults(network))

    def _faults(self, embedding: Tensor) -> Tensor:
        """(B, P, D) → (B, P, A), in float32."""
        with torch.autocast(embedding.device.type, enabled=False):
            logits: Tensor = self.head(embedding.float())
            return logits


def fault_loss(logits: Tensor, machine: Tensor, faulty: Tensor) -> Tensor:
    """(B,) nats: binary cross-entropy at the clip's own machine + the mean of those at all others, to which it is what
    a fault is; averaged over windows.

    logits (B, P, A): log odds that a clip is none of the machine's normal sounds. machine (B,) int64: of each clip; -1:
    none of these. faulty (B,) bool: the clip is none of its own machine's normal sounds either.
    """
    own = torch.arange(logits.shape[-1], device=logits.device) == machine[:, None]
    normal = (own & ~faulty[:, None])[:, None]
    losses = softplus(torch.where(normal, logits, -logits)).mean(1)
    others = (~own).sum(1).clamp(min=1)
    return (losses * own).sum(1) + (losses * ~own).sum(1) / others
