"""What one training step means for a family of systems."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import pydantic
from torch import nn

from asd.augment.mixup import MixupConfig
from asd.backbones import BACKBONES, BackboneConfig, build_backbone, build_reconstructor
from asd.backbones.norms import norm2d
from asd.backbones.strides import subsample_narrow_strides
from asd.errors import UserError
from asd.frontends import FrontendConfig, Windows, WindowsConfig, build_frontend
from asd.losses import LossConfig, build_loss
from asd.losses.base import ClassificationLoss
from asd.tasks.alignment import Alignment, AlignmentConfig
from asd.tasks.base import Task
from asd.tasks.classification import Classification, ClassificationConfig
from asd.tasks.encoder import Encoder
from asd.tasks.freezing import frozen_parts
from asd.tasks.interpolation import Interpolation, InterpolationConfig
from asd.tasks.reconstruction import Reconstruction, ReconstructionConfig
from asd.tasks.step import Embedding, StepOutput
from asd.tasks.vicreg import VICRegTask, VICRegTaskConfig

__all__ = [
    "Embedding",
    "StepOutput",
    "System",
    "Task",
    "TaskConfig",
    "build_task",
    "frozen_parts",
    "refuse_single_class",
    "tells_classes_apart",
]

TaskConfig = Annotated[
    ClassificationConfig | AlignmentConfig | InterpolationConfig | VICRegTaskConfig | ReconstructionConfig,
    pydantic.Field(discriminator="name"),
]


class System(pydantic.BaseModel, extra="forbid", frozen=True):
    """The parts of a config that make its network: which of them there are depends on the task."""

    task: TaskConfig = ClassificationConfig()
    frontend: FrontendConfig
    windows: WindowsConfig | None = None  # clips are cut into windows, each embedded by itself
    backbone: BackboneConfig | None = None
    loss: LossConfig | None = None
    mixup: MixupConfig | None = None

    @pydantic.field_validator("task", mode="before")
    @classmethod
    def _is_classification_unless_named(cls, task: Any) -> Any:
        return {"name": "classification", **task} if isinstance(task, dict) else task

    @pydantic.model_validator(mode="after")
    def _parts_of_the_task(self) -> System:
        wanted = {"backbone": not isinstance(self.task, ReconstructionConfig), "loss": tells_classes_apart(self.task)}
        for part, needed in wanted.items():
            if needed and getattr(self, part) is None:
                raise ValueError(f"{part} is missing: task {self.task.name} needs one")
            if not needed and getattr(self, part) is not None:
                raise ValueError(f"task {self.task.name} has no {part}: leave it out")
        if self.mixup is not None and not isinstance(self.task, ClassificationConfig):
            raise ValueError(f"task {self.task.name} mixes by itself, or not at all: leave mixup out")
        return self

    @pydantic.model_validator(mode="after")
    def _windows_fit_the_task(self) -> System:
        task, windows = self.task, self.windows
        shows_maps = self.backbone is not None and hasattr(BACKBONES[self.backbone.name], "forward_map")
        if getattr(self.loss, "norm", None) and (isinstance(task, InterpolationConfig) or not shows_maps):
            raise ValueError(
                "loss.norm is of class maps: it needs a backbone that shows its maps, cp_resnet, and task "
                "classification or ccsa: or leave it out"
            )
        if isinstance(task, AlignmentConfig) and task.compare == "maps":
            if not shows_maps:
                raise ValueError("task.compare=maps needs a backbone that shows its maps, cp_resnet: or use pooled")
            if windows is not None:
                raise ValueError("task.compare=maps compares whole clips: leave windows out, or use compare=pooled")
        if isinstance(task, ReconstructionConfig):
            if task.network.name == "autoencoder" and windows is None:
                raise ValueError(
                    f"task.network autoencoder needs windows, such as {{frames: {task.network.frames}, hop: 1}}"
                )
            if task.network.name == "wavenet_mu_law" and windows is not None:
                raise ValueError("task.network wavenet_mu_law takes the waveform itself: leave windows out")
        return self


def tells_classes_apart(task: Any) -> bool:
    """Whether a task's network has logits, one a machine."""
    return isinstance(task, ClassificationConfig | AlignmentConfig | InterpolationConfig)


def refuse_single_class(num_classes: int) -> None:
    """UserError where there is nothing to tell apart."""
    if num_classes < 2:
        raise UserError(
            "the set has a single class, and a classifier learns by telling machines apart: "
            "pack at least two machine IDs together"
        )


def build_task(system: System, seed: int, sample_rate: int, num_classes: int, outliers: bool = False) -> Task:
    """The network and loss of a system; UserError where there is nothing to tell apart."""
    task = _parts_together(system, seed, sample_rate, num_classes, outliers)
    subsample_narrow_strides(task)
    return task


def _parts_together(system: System, seed: int, sample_rate: int, num_classes: int, outliers: bool) -> Task:
    frontend = build_frontend(system.frontend, sample_rate)
    windows = _build_windows(system, sample_rate, seed)
    channels = int(frontend.channels) * (system.windows.copies if system.windows else 1)  # type: ignore[arg-type]
    bins = int(frontend.bins)  # type: ignore[arg-type]
    task = system.task
    if isinstance(task, ReconstructionConfig):
        return Reconstruction(frontend, windows, build_reconstructor(task.network, channels, bins))
    assert system.backbone is not None
    backbone = build_backbone(system.backbone, channels, bins)
    encoder = Encoder(frontend, windows, backbone)
    if isinstance(task, VICRegTaskConfig):
        return VICRegTask(task, encoder, _dim(backbone), seed)
    refuse_single_class(num_classes)
    assert system.loss is not None
    kind = getattr(system.loss, "norm", None)
    loss = build_loss(system.loss, _dim(backbone), num_classes, kind and partial(norm2d, kind))
    return _classifier(system, encoder, loss, seed, outliers)


def _classifier(system: System, encoder: Encoder, loss: ClassificationLoss, seed: int, outliers: bool) -> Task:
    task = system.task
    if isinstance(task, AlignmentConfig):
        return Alignment(task, encoder, loss, seed, outliers)
    if isinstance(task, InterpolationConfig):
        return Interpolation(task, encoder, loss, seed)
    assert isinstance(task, ClassificationConfig)
    return Classification(encoder, loss, system.mixup, seed, task.outlier_weight if outliers else 0.0)


def _build_windows(system: System, sample_rate: int, seed: int) -> Windows | None:
    if system.windows is None:
        return None
    least = system.frontend.samples_for(system.windows.frames) / sample_rate
    return Windows(system.windows, least, seed)


def _dim(backbone: nn.Module) -> int:
    return int(backbone.embedding_dim)  # type: ignore[arg-type]
