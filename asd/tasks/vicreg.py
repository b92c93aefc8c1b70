"""Pre-training without labels: VICReg whose invariance is that of mixtures (S5).

Legend: B clips of this rank, N = B / 2 pairs, P windows of a clip, D embedding, E width of the expander.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
import torch
from torch import nn

from asd.augment.mixup import MixupInput, pair_weights
from asd.backbones.expander import Expander, ExpanderConfig
from asd.data.batch import Batch
from asd.distributed.collectives import gather, gather_with_gradient
from asd.losses.vicreg import VICRegConfig, vicreg
from asd.tasks.base import Embedding, Parts, StepOutput, Task, TaskSettings
from asd.tasks.encoder import Encoder, embedding_alone
from asd.tasks.pairs import branches


class VICRegTaskConfig(VICRegConfig, TaskSettings, frozen=True):
    """Factors of the loss, the mixtures' weights ~ Beta(alpha, alpha), one a pair, and the expander."""

    is_classifier: ClassVar[bool] = False
    target_streams: ClassVar[tuple[str, ...]] = ("none", "one_section")  # pairs are of one stream
    needs_whole_batch: ClassVar[bool] = True  # variances and covariances over it
    pair_rows: ClassVar[int] = 2
    has_clip_loss: ClassVar[bool] = False

    name: Literal["vicreg"] = "vicreg"
    alpha: pydantic.PositiveFloat = 0.5  # of the Beta distribution of the weights
    # what is mixed; waveform: the spectrogram of the mixture
    mixup_input: MixupInput = pydantic.Field("spectrogram", validation_alias=pydantic.AliasChoices("mixup_input", "of"))
    expander: ExpanderConfig = ExpanderConfig()


class VICRegTask(Task):
    """Row 2i of a batch is paired with row 2i + 1, which comes from another place of the set."""

    def __init__(self, config: VICRegTaskConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(parts)
        self.views = self.encoder.views
        self.expander = Expander(config.expander, self.encoder.backbone.embedding_dim)
        self.seed = parts.seed

    @property
    def core(self) -> nn.Module:
        return self.encoder.backbone

    def forward(self, batch: Batch) -> StepOutput:
        """The loss of the global batch, the same on every rank; each branch has normalisation statistics of its own."""
        valid = batch.valid[0::2] & batch.valid[1::2]
        weight = pair_weights(self.config.alpha, self.seed, batch.epoch, batch.step, batch.first_row // 2, len(valid))
        weight = weight.to(batch.waveform.device, non_blocking=True)
        pieces = branches(self.encoder, batch, slice(0, None, 2), slice(1, None, 2), weight, self.config.mixup_input)
        windows = pieces[0].shape[1]
        embedded = (self.encoder.embed_pieces(x).flatten(0, 1) for x in pieces)  # (N·P, D)
        z, other, mixture = (gather_with_gradient(self.expander(x)) for x in embedded)
        shares, counted = (gather(x.repeat_interleave(windows)) for x in (weight, valid))
        terms = vicreg(self.config, z, other, mixture, shares, counted)
        logs = {"invariance": terms.invariance, "variance": terms.variance, "covariance": terms.covariance}
        return StepOutput(terms.loss, logs)

    @torch.no_grad()
    def embed(self, batch: Batch) -> Embedding:
        """The encoder's embeddings; there are no classes and no loss of a single clip."""
        return embedding_alone(self.encoder, batch)
