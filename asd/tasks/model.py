"""How a network is held and run, whatever its parts are."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

# all_but_centres: the whole network; all_but_last_block: what lies before its last residual block; centres: the class
# centres. S4 tries all three when it adapts to the target domain.
Freeze = Literal["none", "all_but_centres", "all_but_last_block", "centres"]
# default: fused kernels; reduce-overhead: a GPU also replays whole passes as CUDA graphs. Configs of former versions
# have true and false, and YAML reads a bare `off` as false.
Compile = Annotated[
    Literal["off", "default", "reduce-overhead"],
    pydantic.BeforeValidator(lambda mode: {"true": "default", "false": "off"}.get(str(mode).lower(), mode)),
]


class ModelConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Which of its parts learn, how maps lie in memory, and whether torch.compile takes it."""

    freeze: Freeze = "none"  # see init_from
    channels_last: bool = True  # memory layout of maps; the same results to rounding, faster
    compile: Compile = "off"  # by torch.compile, in one of its modes
