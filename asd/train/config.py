"""Settings of the training loop."""

from __future__ import annotations

import pydantic

from asd.train.profile import ProfileConfig


class TrainConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """How long, how much at once, and what stops it."""

    global_batch: pydantic.PositiveInt = 64  # clips of one update, over all ranks and accumulated parts
    epochs: pydantic.PositiveInt | None = None  # epochs of the whole run
    steps: pydantic.PositiveInt | None = None  # instead of epochs
    # of weights, order of clips, crops, mixtures and what is held out
    seed: int = pydantic.Field(default=0, ge=0, lt=2**63)
    accumulate: pydantic.PositiveInt = 1  # forward/backward passes per update
    clip_norm: pydantic.PositiveFloat | None = None  # longest gradient; none of the sources S1 to S6 clips
    # decay of an exponential moving average of the weights, e.g. 0.999, lower at first; it is what is evaluated
    ema: float | None = pydantic.Field(default=None, gt=0, lt=1)
    log_every: pydantic.PositiveInt = 20  # steps
    max_nonfinite: pydantic.PositiveInt = 20  # updates in a row that may be skipped
    # of the training clips, that cannot be read; more stops the run
    max_bad_fraction: float = pydantic.Field(default=0.01, ge=0, le=1)
    profile: ProfileConfig | None = None  # steps to trace, into run.dir/profile
    reuse_first_batch: bool = False  # shows the speed without the loader; trains nothing useful

    def total_steps(self, steps_per_epoch: int) -> int:
        """Of the whole run; 0 where nothing is trained."""
        return self.steps or (self.epochs or 0) * steps_per_epoch
