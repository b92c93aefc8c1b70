"""The interface of a task: settings that state its needs, and a module with `forward` to learn and `embed` to score.

A new one is a file with both, a line in asd/tasks/__init__.py, and a config that names it.

Legend: B batch, P windows of a clip (1 where a clip is taken whole), D embedding, C classes, A machines,
M feature bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Self

import pydantic
from torch import Tensor, nn

from asd.augment.mixup import MixupConfig
from asd.backbones.base import Backbone, View
from asd.backbones.statistics import Statistics
from asd.data.batch import Batch
from asd.frontends import Frontend, Windows, WindowsConfig
from asd.losses.base import ClassificationLoss


class TaskSettings(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Base of the config classes; `name` chooses among them. Values here: those of a classifier of single clips."""

    is_classifier: ClassVar[bool] = True  # it has a `loss` with class centres, and gives logits
    trains: ClassVar[bool] = True  # whether there is anything to learn: else neither `optim` nor a length of training
    has_backbone: ClassVar[bool] = True
    may_mix: ClassVar[bool] = False  # whether `mixup` is for it
    may_have_outliers: ClassVar[bool] = False  # whether `data.streams.outliers` are
    may_have_faults: ClassVar[bool] = False  # whether `data.streams.fault_rows` are
    target_streams: ClassVar[tuple[str, ...]] = ("none", "rows", "one_section")  # data.streams.target that it takes
    needs_whole_batch: ClassVar[bool] = False  # whether its loss is more than a mean over the clips of a batch
    pair_rows: ClassVar[int] = 1  # neighbouring rows of a batch that belong together
    takes_maps: ClassVar[bool] = True  # whether a loss of class maps is for it
    has_clip_loss: ClassVar[bool] = True  # whether a held-out clip has a loss, by which a checkpoint can be chosen

    @property
    def may_rest(self) -> bool:
        """Whether a set that the task cannot learn from is embedded by the network as it is."""
        return False

    def gives(self) -> set[str]:
        """The columns of `Embedding` that scorers may read."""
        return {"embedding", "features", *(["logits"] if self.is_classifier else [])}

    def fixed_frames(self) -> int | None:
        """The number of frames that every window must have; None: any."""
        return None

    def check(self, windows: WindowsConfig | None, shows_maps: bool) -> None:
        """ValueError where a system's windows, or a backbone that does (not) show its maps, do not fit this task."""


@dataclass(frozen=True)
class Parts:
    """What a task is built from, beside its own settings."""

    frontend: Frontend
    windows: Windows | None
    channels: int  # of what the network sees
    backbone: Backbone | None  # where the task has one
    statistics: Statistics | None  # of a clip, kept beside the network's embedding
    loss: ClassificationLoss | None  # where it is a classifier
    mixup: MixupConfig | None
    seed: int
    outliers: bool  # whether batches have clips of no class
    machines: int  # that are scored
    machine_of: tuple[int, ...] = ()  # the machine of each class that is told apart; empty: these are the machines


@dataclass(frozen=True)
class StepOutput:
    """The scalar to differentiate and detached numbers to show, reduced only when logged."""

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Embedding:
    """What evaluation keeps of a batch."""

    embedding: Tensor  # (B, P, D)
    logits: Tensor  # (B, P, C), no margin; C = 0 where no classes are told apart
    errors: Tensor  # (B, 3) reconstruction errors as asd.scorers.embeddings.ERRORS says, (B, 0) where there are none
    features: Tensor  # (B, M), time mean of the spectrogram that the network sees
    loss: Tensor  # (B,), of held-out clips: no mixing, no smoothing; nan where a task has no loss for a single clip
    residuals: Tensor | None = None  # (B, R, M): what is left of every frame where spectrograms are reconstructed
    faults: Tensor | None = None  # (B, P, A), log odds that it is none of a machine's normal sounds; None: no such head


class Task(nn.Module):
    """The one module that DDP wraps."""

    views: Mapping[str, View] = MappingProxyType({})  # named parts of the embedding that scorers may read by themselves
    logit_scale: float | None = None  # what cosines were multiplied by to give the logits; None: these are no cosines

    def __init__(self) -> None:
        super().__init__()
        self._frozen: tuple[nn.Module, ...] = ()

    @property
    def core(self) -> nn.Module:
        """The part that does the work, which model.compile compiles."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> StepOutput:
        """The rank's loss of a training batch."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> Embedding:
        """What evaluation keeps of clips of one length."""
        raise NotImplementedError

    def freeze(self, *parts: nn.Module) -> None:
        """From now on these do not learn; their running statistics and dropout rest, too."""
        self._frozen = parts
        for part in parts:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self
