"""Numbers of the steps since the last line, over all ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from asd.distributed.collectives import gather
from asd.distributed.ranks import Ranks
from asd.train.clock import PARTS, Clock


class Interval:
    """Loss, its parts and gradient norm of each step, which stay on the device until they are shown."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.steps: list[dict[str, Tensor]] = []
        self.clock = Clock(ranks.device)

    def add(self, numbers: dict[str, Tensor], clips: int, wait_s: float) -> None:
        """Take the scalars of a step, this rank's clips of it, and how long it waited for them."""
        self.steps.append(numbers)
        self.clock.add(clips, wait_s)

    def record(self, epoch: float, lr: float) -> dict[str, float]:
        """Means over steps and ranks; of the loss, of waits and memory the largest of any rank as well, of loss and
        gradient norm also the largest finite one of a step. One collective.

        A new interval begins.
        """
        names = list(self.steps[0])
        steps = torch.stack([torch.stack([step[name] for name in names]) for step in self.steps]).double()
        highest = steps.nan_to_num(0.0, 0.0, 0.0).amax(0)
        self.steps.clear()
        both = torch.cat([steps.mean(0), highest]).tolist()
        own = {**dict(zip([*names, *(f"{name}_highest" for name in names)], both, strict=True)), **self.clock.read()}
        ranks = gather(torch.tensor([list(own.values())], dtype=torch.float32, device=self._ranks.device)).cpu()
        mean = dict(zip(own, ranks.mean(0).tolist(), strict=True))
        most = dict(zip(own, ranks.amax(0).tolist(), strict=True))
        return {
            "epoch": epoch,
            "loss": mean["loss"],
            "loss_max": most["loss"],
            **{name: mean[name] for name in names if name not in ("loss", "grad_norm")},
            "grad_norm": mean["grad_norm"],
            **{f"{name}_highest": most[f"{name}_highest"] for name in ("loss", "grad_norm")},
            "lr": lr,
            "clips_per_s": mean["clips_per_s_per_rank"] * self._ranks.world_size,
            **{name: most[name] for name in ("step_s", "data_wait_s", "data_wait_percent", "peak_mem_gib")},
            **{f"{part}_s": mean[f"{part}_s"] for part in PARTS},
            "clips_per_s_per_rank": mean["clips_per_s_per_rank"],
        }
