"""What one training step means: one file per objective, looked up by its config's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pydantic

from asd.tasks.alignment import Alignment, AlignmentConfig
from asd.tasks.base import Parts, Task
from asd.tasks.classification import Classification, ClassificationConfig
from asd.tasks.interpolation import Interpolation, InterpolationConfig
from asd.tasks.outlier_exposure import OutlierExposure, OutlierExposureConfig
from asd.tasks.reconstruction import Reconstruction, ReconstructionConfig
from asd.tasks.untrained import Untrained, UntrainedConfig
from asd.tasks.vicreg import VICRegTask, VICRegTaskConfig

TaskConfig = Annotated[
    ClassificationConfig
    | OutlierExposureConfig
    | AlignmentConfig
    | InterpolationConfig
    | VICRegTaskConfig
    | ReconstructionConfig
    | UntrainedConfig,
    pydantic.Field(discriminator="name"),
]

TASKS: dict[str, Callable[[Any, Parts], Task]] = {
    "classification": Classification,
    "outlier_exposure": OutlierExposure,
    "ccsa": Alignment,
    "interpolation": Interpolation,
    "vicreg": VICRegTask,
    "reconstruction": Reconstruction,
    "untrained": Untrained,
}
