"""Classification while embeddings of source and target domain are aligned class by class (CCSA; fine-tuning of S3).

Legend: S source clips and T target clips of the global batch, D embedding.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
from torch import Tensor

from asd.data.batch import Batch, to_float
from asd.distributed.collectives import gather, gather_with_gradient
from asd.frontends import WindowsConfig
from asd.losses.ccsa import CCSAConfig, ccsa_terms
from asd.tasks.base import Parts, StepOutput, TaskSettings
from asd.tasks.classification import Classifier

TARGET = 2  # asd.data.manifest.DOMAINS.index("target")


class AlignmentConfig(CCSAConfig, TaskSettings, frozen=True):
    """da_lambda·(classification, with its outliers) + (1 − da_lambda)·CCSA."""

    may_have_outliers: ClassVar[bool] = True
    target_streams: ClassVar[tuple[str, ...]] = ("rows",)
    needs_whole_batch: ClassVar[bool] = True  # pairs of its clips

    name: Literal["ccsa"] = "ccsa"
    outlier_weight: pydantic.PositiveFloat = 0.5  # where data.streams has outliers

    def check(self, windows: WindowsConfig | None, shows_maps: bool) -> None:
        if self.compare == "maps":
            if not shows_maps:
                raise ValueError("task.compare=maps needs a backbone that shows its maps, cp_resnet: or use pooled")
            if windows is not None:
                raise ValueError("task.compare=maps compares whole clips: leave windows out, or use compare=pooled")


class Alignment(Classifier):
    """Needs batches of source and target clips: data.streams.target=rows."""

    def __init__(self, config: AlignmentConfig, parts: Parts) -> None:
        super().__init__(parts, config.outlier_weight)
        self.config = config

    def forward(self, batch: Batch) -> StepOutput:
        """The pairs are those of the global batch, whatever the number of ranks."""
        compared, learnt = self._compared(batch)
        task = self.compare(learnt, batch, None)
        everything = gather_with_gradient(compared)
        classes, domain, valid = (gather(x) for x in (batch.class_index, batch.domain, batch.valid))
        # Pairs are chosen by a mask, not by indexing: that would wait for the device.
        own = (classes >= 0) & valid
        target = domain == TARGET
        counted = (own & ~target)[:, None] & (own & target)
        config = self.config
        semantic, contrastive = ccsa_terms(
            everything, everything, classes, classes, config.margin, counted, config.divisor
        )
        alignment = 0.5 * semantic + 0.5 * contrastive
        share = config.da_lambda
        logs = {**task.logs, "loss_semantic": semantic.detach(), "loss_contrastive": contrastive.detach()}
        return StepOutput(share * task.loss + (1 - share) * alignment, logs)

    def _compared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What pairs compare, (B, …), and what the classifier learns from, (B, P, D) or maps (B, P, D, m, f)."""
        spectrogram = self.encoder.frontend(to_float(batch.waveform))
        pieces = self.encoder.cut(spectrogram, self.encoder.places(spectrogram, batch))
        if self.config.compare == "pooled" and not self.loss.takes_maps:
            embedding = self.encoder.embed_pieces(pieces)
            return embedding.mean(1), embedding
        maps = self.encoder.maps(pieces)
        embedding = self.encoder.backbone.pool(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        compared = maps.squeeze(1) if self.config.compare == "maps" else embedding.mean(1)
        return compared, maps if self.loss.takes_maps else embedding
