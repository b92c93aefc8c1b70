"""Learning-rate schedules, one file each, chosen by their `name`."""

from __future__ import annotations

from typing import Annotated

import pydantic

from asd.optim.schedules.constant import ConstantConfig
from asd.optim.schedules.cosine import CosineConfig
from asd.optim.schedules.hold_linear import HoldLinearConfig
from asd.optim.schedules.warm_restarts import WarmRestartsConfig

ScheduleConfig = Annotated[
    ConstantConfig | CosineConfig | WarmRestartsConfig | HoldLinearConfig, pydantic.Field(discriminator="name")
]
