"""What one training step means for a family of systems."""

from __future__ import annotations

from asd.augment.mixup import MixupConfig
from asd.backbones import BackboneConfig, build_backbone
from asd.errors import UserError
from asd.frontends import FrontendConfig, build_frontend
from asd.losses import LossConfig, build_loss
from asd.tasks.classification import Classification
from asd.tasks.step import Embedding, StepOutput

__all__ = ["Classification", "Embedding", "StepOutput", "build_classification", "refuse_single_class"]


def refuse_single_class(num_classes: int) -> None:
    """UserError where there is nothing to tell apart."""
    if num_classes < 2:
        raise UserError(
            "the set has a single class, and a classifier learns by telling machines apart: "
            "pack at least two machine IDs together"
        )


def build_classification(
    frontend: FrontendConfig,
    backbone: BackboneConfig,
    loss: LossConfig,
    mixup: MixupConfig | None,
    seed: int,
    sample_rate: int,
    num_classes: int,
) -> Classification:
    """The network and loss that tell num_classes machines apart; UserError where there is nothing to tell apart."""
    refuse_single_class(num_classes)
    features = build_frontend(frontend, sample_rate)
    channels, bins = int(features.channels), int(features.bins)  # type: ignore[arg-type]
    network = build_backbone(backbone, channels, bins)
    centres = build_loss(loss, network.embedding_dim, num_classes)  # type: ignore[arg-type]
    return Classification(features, network, centres, mixup, seed)
