"""Which device a rank computes on, and in which precision."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

import torch

from asd.errors import UserError

log = logging.getLogger(__name__)

Precision = Literal["auto", "bf16", "fp16", "fp32"]
DRIVER_FOLDER = Path("/proc/driver/nvidia/gpus")


def choose_device(local_rank: int, local_ranks: int) -> torch.device:
    """This rank's GPU, or the CPU where the machine has no GPU."""
    visible = torch.cuda.device_count()
    asked = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    present = len(list(DRIVER_FOLDER.glob("*"))) if DRIVER_FOLDER.is_dir() else visible
    if asked not in ("", "-1") and (wanted := len(asked.split(","))) > visible:  # both hide all devices
        if present:
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={asked} names {wanted} devices, {visible} of them usable, on a machine with "
                f"{present}: name devices that exist (0 to {present - 1})",
                every_rank=local_rank != 0,  # the first rank of each node reports it
            )
        if local_rank == 0:
            log.warning(f"CUDA_VISIBLE_DEVICES={asked}, but no GPU is here: using the CPU")
    if visible == 0:
        return torch.device("cpu")
    if local_ranks > visible:
        raise UserError(
            f"{local_ranks} ranks on this node but {visible} GPUs: lower --nproc_per_node or show more GPUs",
            every_rank=local_rank != 0,
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def choose_precision(precision: Precision, device: torch.device) -> Literal["bf16", "fp16", "fp32"]:
    """auto: bf16 on GPUs that compute in it, fp16 on others, fp32 on CPUs (where small networks gain nothing else)."""
    if precision == "fp16" and device.type == "cpu":
        raise UserError("distributed.precision=fp16 needs a GPU: choose bf16, fp32 or auto")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "fp32"
