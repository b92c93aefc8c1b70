"""The parts of a config that make its network."""

from __future__ import annotations

from typing import Any

import pydantic

from asd.augment.mixup import MixupConfig
from asd.backbones import BackboneConfig
from asd.backbones.statistics import StatisticsConfig
from asd.frontends import FrontendConfig, WindowsConfig
from asd.losses import LossConfig
from asd.tasks import TaskConfig
from asd.tasks.classification import ClassificationConfig
from asd.tasks.encoder import NETWORK_VIEW


class System(pydantic.BaseModel, extra="forbid", frozen=True):
    """Which of the parts there are depends on the task."""

    task: TaskConfig = ClassificationConfig()
    frontend: FrontendConfig
    windows: WindowsConfig | None = None  # clips are cut into windows, each embedded by itself
    backbone: BackboneConfig | None = None
    # of each clip's plain spectrogram, beside what the network makes of it: views that scorers may read, and `network`
    statistics: StatisticsConfig | None = None
    loss: LossConfig | None = None
    mixup: MixupConfig | None = None

    @pydantic.field_validator("task", mode="before")
    @classmethod
    def _is_classification_unless_named(cls, task: Any) -> Any:
        return {"name": "classification", **task} if isinstance(task, dict) else task

    @pydantic.model_validator(mode="after")
    def _parts_of_the_task(self) -> System:
        for part, needed in {"backbone": self.task.has_backbone, "loss": self.task.is_classifier}.items():
            if needed and getattr(self, part) is None:
                raise ValueError(f"{part} is missing: task {self.task.name} needs one")
            if not needed and getattr(self, part) is not None:
                raise ValueError(f"task {self.task.name} has no {part}: leave it out")
        if self.statistics is not None and not self.task.has_backbone:
            raise ValueError(f"task {self.task.name} has no embedding for statistics to stand beside: leave them out")
        if self.statistics is not None and len(set(self.view_names())) < len(self.view_names()):
            raise ValueError("backbone and statistics have views of the same name: leave statistics out")
        if self.mixup is not None and not self.task.may_mix:
            raise ValueError(f"task {self.task.name} does its own mixing or none: leave mixup out")
        return self

    @pydantic.model_validator(mode="after")
    def _maps_for_a_loss_of_maps(self) -> System:
        if self.loss is not None and self.loss.takes_maps and not (self.shows_maps and self.task.takes_maps):
            raise ValueError(
                "loss.norm is of class maps: it needs a backbone that shows its maps, cp_resnet, and task "
                "classification or ccsa: or leave it out"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _waveform_for_networks_that_take_it(self) -> System:
        taken = self.backbone is not None and self.backbone.takes_waveform
        if taken and not self.frontend.gives_waveform:
            assert self.backbone is not None
            raise ValueError(f"backbone {self.backbone.name} makes its own spectra: use frontend.name=waveform")
        if self.frontend.gives_waveform and not taken:
            raise ValueError(
                "frontend waveform is for backbones that make their own spectra, such as multi_branch: choose log_mel"
            )
        if taken and self.windows is not None and self.windows.copies > 1:
            raise ValueError(f"windows.copies={self.windows.copies} is for networks of several channels: leave it at 1")
        return self

    @pydantic.model_validator(mode="after")
    def _nothing_is_fresh_where_nothing_learns(self) -> System:
        fresh = None if self.backbone is None else self.backbone.fresh_parts()
        if fresh is not None and not self.task.trains:
            raise ValueError(f"task {self.task.name} trains nothing, but {fresh} needs training: leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def _parts_fit_the_task(self) -> System:
        self.task.check(self.windows, self.shows_maps)
        return self

    def view_names(self) -> tuple[str, ...]:
        """Parts of the embedding that scorers may look at by themselves (`view`)."""
        own = self.backbone.view_names() if self.backbone is not None else ()
        return own if self.statistics is None else (NETWORK_VIEW, *own, *self.statistics.view_names())

    @property
    def shows_maps(self) -> bool:
        return self.backbone is not None and self.backbone.shows_maps

    def fixed_frames(self) -> set[int]:
        """The numbers of frames that parts of the network insist on."""
        found = {self.frontend.fixed_frames(), self.task.fixed_frames()}
        if self.backbone is not None:
            found.add(self.backbone.fixed_frames(self.windows is not None))
        return {frames for frames in found if frames is not None}
