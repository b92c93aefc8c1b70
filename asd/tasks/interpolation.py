"""Classification of mixtures within and across domains, while embeddings mix as their inputs do (fine-tuning of S5).

Legend: N pairs of this rank, P windows of a clip, D embedding.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
import torch

from asd.augment.mixup import MixupInput, pair_weights
from asd.data.batch import Batch
from asd.losses.geometric import Reduction, geometric_error, mixed_label_kl
from asd.tasks.base import Parts, StepOutput, TaskSettings
from asd.tasks.classification import Classifier
from asd.tasks.pairs import branches


class InterpolationConfig(TaskSettings, frozen=True):
    """Weights ~ Beta(alpha, alpha), one a pair. The source gives no factor of the geometric term."""

    target_streams: ClassVar[tuple[str, ...]] = ("pairs",)
    takes_maps: ClassVar[bool] = False
    needs_whole_batch: ClassVar[bool] = True  # a pair's clips stand half a batch apart

    name: Literal["interpolation"] = "interpolation"
    alpha: pydantic.PositiveFloat = 0.5  # of the Beta distribution of the weights
    geometric: pydantic.NonNegativeFloat = 1.0  # factor of the geometric term; 0 leaves it out
    reduction: Reduction = "mean"  # of its squared error over the embedding; sum: the norm of eq. 1 to the letter
    # what is mixed; waveform: the spectrogram of the mixture
    mixup_input: MixupInput = pydantic.Field("spectrogram", validation_alias=pydantic.AliasChoices("mixup_input", "of"))


class Interpolation(Classifier):
    """Needs batches of pairs: data.streams.target=pairs, the second half of the rows beside the first."""

    def __init__(self, config: InterpolationConfig, parts: Parts) -> None:
        super().__init__(parts)
        self.config = config

    def forward(self, batch: Batch) -> StepOutput:
        """KL to the mixed label + geometric · (distance of the mixture's embedding from the mixed embeddings)²."""
        half = len(batch.class_index) // 2
        weight = pair_weights(self.config.alpha, self.seed, batch.epoch, batch.step, batch.first_row // 2, half)
        weight = weight.to(batch.waveform.device, non_blocking=True)
        valid = batch.valid[:half] & batch.valid[half:]
        pieces = branches(self.encoder, batch, slice(None, half), slice(half, None), weight, self.config.mixup_input)
        z, other, mixture = self.encoder.embed_pieces(torch.cat(pieces)).split(half)
        windows = mixture.shape[1]
        shares, own, partner = (
            x.repeat_interleave(windows) for x in (weight, batch.target[:half], batch.target[half:])
        )
        kl = mixed_label_kl(self._logits(mixture).flatten(0, 1), own, partner, shares)
        apart = geometric_error(
            mixture.flatten(0, 1), z.flatten(0, 1), other.flatten(0, 1), shares, self.config.reduction
        )
        kl, apart = ((x.unflatten(0, (-1, windows)).mean(1) * valid).mean() for x in (kl, apart))
        logs = {"loss_classes": kl.detach(), "loss_geometric": apart.detach()}
        return StepOutput(kl + self.config.geometric * apart, logs)
