"""Settings of monitoring."""

from __future__ import annotations

import pydantic


class MonitorConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """When ranks say that something is wrong."""

    stall_s: pydantic.PositiveFloat = 120.0  # without progress, after which a rank says where it is stalled
