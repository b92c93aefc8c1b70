"""Settings of the ranks."""

from __future__ import annotations

import pydantic

from asd.distributed.device import Precision


class DistributedConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """What ranks compute in, and how long they wait for each other."""

    precision: Precision = "auto"  # auto: bf16 on GPUs that compute in it, fp16 on others, fp32 on CPUs
    timeout_s: pydantic.PositiveFloat = 600.0  # of a collective operation
