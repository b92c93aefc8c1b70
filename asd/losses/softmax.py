"""Plain softmax cross-entropy with label smoothing, and its focal form. Legend: B batch, C classes, D embedding,
m × f positions of a map."""

from __future__ import annotations

from typing import Literal, Self

import pydantic
from torch import Tensor, nn

from asd.losses.base import ClassificationLoss, LossSettings, MapNorm


class SoftmaxConfig(LossSettings, frozen=True):
    """Linear classifier with label smoothing."""

    name: Literal["softmax"] = "softmax"
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)  # share of the target that is spread over all classes
    hidden: pydantic.PositiveInt | None = None  # a layer in between, with ReLU (S5: 128)
    norm: Literal["batch", "sync"] | None = None  # of the classes' maps, before their mean over positions (S3)

    @pydantic.model_validator(mode="after")
    def _one_head(self) -> Self:
        if self.hidden is not None and self.norm is not None:
            raise ValueError("hidden and norm are two different heads: give one of them")
        return self

    @property
    def takes_maps(self) -> bool:
        return self.norm is not None


class Softmax(ClassificationLoss):
    """Cross-entropy of a linear layer on the embedding."""

    def __init__(self, config: SoftmaxConfig | FocalConfig, dim: int, classes: int) -> None:
        super().__init__()
        self.label_smoothing = config.label_smoothing
        hidden = getattr(config, "hidden", None)
        self.classifier: nn.Module = nn.Linear(hidden or dim, classes)
        if hidden is not None:
            self.classifier = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), self.classifier)
            self.by_class = "classifier.2"

    def logits(self, embedding: Tensor) -> Tensor:
        return self.classifier(embedding)


class MapSoftmax(ClassificationLoss):
    """Cross-entropy of class maps that are normalised and then averaged over positions, the head of S3.

    A 1x1 convolution without bias commutes with the mean over positions, and in evaluation so does the normalisation:
    there the logits of an embedding, the mean of its map, are those of the map. In training the normalisation divides
    by the deviation over clips and positions.
    """

    takes_maps = True

    def __init__(self, config: SoftmaxConfig, dim: int, classes: int, norm: MapNorm) -> None:
        super().__init__()
        self.label_smoothing = config.label_smoothing
        convolution = nn.Conv2d(dim, classes, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_in", nonlinearity="relu")  # as published
        assert config.norm is not None
        self.classifier = nn.Sequential(convolution, norm(config.norm, classes))

    def logits(self, embedding: Tensor) -> Tensor:
        """(B, D, m, f) in training, or (B, D) in evaluation → (B, C)."""
        maps = embedding if embedding.dim() == 4 else embedding[..., None, None]
        return self.classifier(maps).mean((2, 3))


class FocalConfig(LossSettings, frozen=True):
    """Linear classifier; clips that are already told apart count less."""

    name: Literal["focal"] = "focal"
    alpha: pydantic.PositiveFloat = 1.0  # factor of the whole loss
    gamma: pydantic.NonNegativeFloat = 1.0  # how fast clips that are told apart lose weight; 0: not at all
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)  # share of the target that is spread over all classes


class Focal(Softmax):
    """alpha·(1 − p)^gamma times the cross-entropy, p the probability of the target (Lin et al. 2017)."""

    def __init__(self, config: FocalConfig, dim: int, classes: int) -> None:
        super().__init__(config, dim, classes)
        self.alpha, self.gamma = config.alpha, config.gamma

    def single(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Focal loss of logits (B, C) against one class a row, (B,)."""
        others = 1 - logits.softmax(1).gather(1, classes[:, None]).squeeze(1)
        return self.alpha * others.clamp(min=1e-7).pow(self.gamma) * super().single(logits, classes)
