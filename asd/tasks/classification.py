"""Classification of machines: encoder → class centres, with mixup and with proxy outliers that belong to no machine.

Legend: B batch, T samples, P windows of a clip, D embedding, C classes that are told apart, A machines (C as a rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.augment.mixup import Mix, draw_mix, with_other_class
from asd.data.batch import Batch, to_float
from asd.losses.outlier import uniform_cross_entropy
from asd.tasks.base import Embedding, Parts, StepOutput, Task, TaskSettings
from asd.tasks.encoder import Encoder, mixed


class ClassificationConfig(TaskSettings, frozen=True):
    """Loss of the machines' own clips + outlier_weight · cross-entropy of outliers to the uniform posterior."""

    may_mix: ClassVar[bool] = True
    may_have_outliers: ClassVar[bool] = True

    name: Literal["classification"] = "classification"
    outlier_weight: pydantic.PositiveFloat = 0.5  # where data.streams has outliers
    optional: bool = False  # of one machine, or of fewer clips than a batch, it learns nothing, rather than refuse

    @property
    def may_rest(self) -> bool:
        return self.optional


class Classifier(Task):
    """One class per machine of the set, or several: what all objectives with class centres share."""

    def __init__(self, parts: Parts, outlier_weight: float = 0.0) -> None:
        super().__init__()
        assert parts.loss is not None
        self.encoder = Encoder(parts)
        self.views = self.encoder.views
        self.loss = parts.loss
        self.seed = parts.seed
        self.outlier_weight = outlier_weight if parts.outliers else 0.0
        self.logit_scale = None if parts.machine_of else parts.loss.scale
        self.machines = Machines(parts.machine_of) if parts.machine_of else None

    @property
    def core(self) -> nn.Module:
        return self.encoder.backbone

    def compare(self, embedding: Tensor, batch: Batch, mix: Mix | None) -> StepOutput:
        """The loss of embeddings (B, P, D) of a batch, mixed or not; of maps (B, P, D, m, f) where it takes them."""
        own = batch.target >= 0
        classes = batch.target.clamp(min=0)
        valid = batch.valid if mix is None else batch.valid & batch.valid[mix.partner]
        weight = torch.ones_like(own, dtype=torch.float32) if mix is None else mix.weight
        second = classes if mix is None else classes[mix.partner]
        windows, logits = embedding.shape[1], self._logits(embedding).flatten(0, 1)
        first, second, weight = (x.repeat_interleave(windows) for x in (classes, second, weight))
        losses = self.loss.of_logits(logits, first, second, weight).unflatten(0, (-1, windows)).mean(1)
        if self.outlier_weight == 0:
            return StepOutput((losses * valid).mean())
        inliers = (losses * (valid & own)).sum() / own.sum().clamp(min=1)
        undecided = uniform_cross_entropy(logits).unflatten(0, (-1, windows)).mean(1)
        outliers = (undecided * (valid & ~own)).sum() / (~own).sum().clamp(min=1)
        logs = {"loss_classes": inliers.detach(), "loss_outliers": outliers.detach()}
        return StepOutput(inliers + self.outlier_weight * outliers, logs)

    @torch.no_grad()
    def embed(self, batch: Batch) -> Embedding:
        """Embeddings, logits and features of unmixed clips of any one length, in float32."""
        spectrogram = self.encoder.frontend(to_float(batch.waveform))
        embedding = self.encoder.embed(spectrogram).float()
        logits = self._logits(embedding)
        windows = logits.shape[1]
        classes = batch.target.clamp(min=0)  # of a test clip the finer class is not known; nor is its loss asked for
        losses = self.loss.held_out(logits.flatten(0, 1), classes.repeat_interleave(windows))
        none = embedding.new_empty(len(embedding), 0)
        by_machine = logits if self.machines is None else self.machines(logits)
        return Embedding(
            self.encoder.with_statistics(embedding, spectrogram),
            by_machine,
            none,
            self.encoder.frontend.features(spectrogram),
            losses.unflatten(0, (-1, windows)).mean(1),
        )

    def _logits(self, embedding: Tensor) -> Tensor:
        """(B, P, D), or maps (B, P, D, m, f) → (B, P, C) without margin, in float32."""
        with torch.autocast(embedding.device.type, enabled=False):
            return self.loss.logits(embedding.float().flatten(0, 1)).unflatten(0, embedding.shape[:2])


class Classification(Classifier):
    """Of single clips, mixed or not."""

    def __init__(self, config: ClassificationConfig, parts: Parts) -> None:
        super().__init__(parts, config.outlier_weight)
        self.mixup = parts.mixup

    def forward(self, batch: Batch) -> StepOutput:
        """Mean loss of the rank's clips; unreadable clips (and mixtures with them) weigh nothing."""
        mix = self._mix(batch)
        what = "waveform" if self.mixup is None else self.mixup.input
        spectrogram = mixed(self.encoder.frontend, to_float(batch.waveform), mix, what)
        pieces = self.encoder.cut(spectrogram, self.encoder.places(spectrogram, batch))
        learn_from = self.encoder.maps if self.loss.takes_maps else self.encoder.embed_pieces
        return self.compare(learn_from(pieces), batch, mix)

    def _mix(self, batch: Batch) -> Mix | None:
        if self.mixup is None:
            return None
        rows, device = len(batch.class_index), batch.class_index.device
        mix = draw_mix(self.mixup, self.seed, batch.epoch, batch.step, batch.first_row, rows).to(device)
        if self.mixup.partner == "other_class":
            return with_other_class(mix, batch.target, self.mixup.group_size)
        return mix


class Machines(nn.Module):
    """Logits of finer classes → those of machines, whose softmax is the sum of their classes' probabilities."""

    classes: Tensor  # (A, most classes of a machine), filled up with C

    def __init__(self, machine_of: Sequence[int]) -> None:
        super().__init__()
        with torch.device("cpu"):  # no weight: it is there also where the rest is a sketch (device meta)
            machine = torch.tensor(machine_of)
            own = [(machine == index).nonzero().flatten() for index in range(int(machine.max()) + 1)]
            classes = nn.utils.rnn.pad_sequence(own, batch_first=True, padding_value=len(machine_of))
        self.register_buffer("classes", classes, persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """(B, P, C) → (B, P, A)."""
        return F.pad(logits, (0, 1), value=-torch.inf)[..., self.classes].logsumexp(-1)
