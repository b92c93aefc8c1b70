"""Classification while embeddings of source and target domain are aligned class by class (CCSA; fine-tuning of S3).

Legend: S source clips and T target clips of the global batch, D embedding.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
from torch import Tensor

from asd.data.batch import Batch, to_float
from asd.distributed import gather, gather_with_gradient
from asd.losses.base import ClassificationLoss
from asd.losses.ccsa import CCSAConfig, ccsa_terms
from asd.tasks.classification import Classification
from asd.tasks.encoder import Encoder
from asd.tasks.step import StepOutput

TARGET = 2  # asd.data.manifest.DOMAINS.index("target")


class AlignmentConfig(CCSAConfig, frozen=True):
    """da_lambda·(classification, with its outliers) + (1 − da_lambda)·CCSA."""

    needs_whole_batch: ClassVar[bool] = True  # pairs of its clips

    name: Literal["ccsa"] = "ccsa"
    outlier_weight: pydantic.PositiveFloat = 0.5  # where data.streams has outliers


class Alignment(Classification):
    """Needs batches of source and target clips: data.streams.target=rows."""

    def __init__(
        self, config: AlignmentConfig, encoder: Encoder, loss: ClassificationLoss, seed: int, outliers: bool
    ) -> None:
        super().__init__(encoder, loss, None, seed, config.outlier_weight if outliers else 0.0)
        self.config = config

    def forward(self, batch: Batch) -> StepOutput:
        """The pairs are those of the global batch, whatever the number of ranks."""
        maps, embedding = self._compared(to_float(batch.waveform))
        task = self.compare(embedding, batch, None)
        everything = gather_with_gradient(maps)
        classes, domain, valid = (gather(x) for x in (batch.class_index, batch.domain, batch.valid))
        # Pairs are chosen by a mask, not by indexing: that would wait for the device.
        own = (classes >= 0) & valid
        target = domain == TARGET
        counted = (own & ~target)[:, None] & (own & target)
        semantic, contrastive = ccsa_terms(everything, everything, classes, classes, self.config.margin, counted)
        alignment = 0.5 * semantic + 0.5 * contrastive
        share = self.config.da_lambda
        logs = {**task.logs, "loss_semantic": semantic.detach(), "loss_contrastive": contrastive.detach()}
        return StepOutput(share * task.loss + (1 - share) * alignment, logs)

    def _compared(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """What pairs compare, (B, …), and the embeddings (B, 1, D) that go with it."""
        if self.config.compare == "pooled":
            embedding = self.encoder(waveform)
            return embedding.mean(1), embedding
        backbone = self.encoder.backbone
        maps = backbone.forward_map(self.encoder.frontend(waveform))  # type: ignore[operator]
        return maps, backbone.pool(maps).unsqueeze(1)  # type: ignore[operator]
