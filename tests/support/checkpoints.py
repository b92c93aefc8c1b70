"""Checkpoints of a tiny network."""

from __future__ import annotations

import torch

from asd.run_folder.checkpoint import Payload


def payload(seed: int = 0, size: int = 50, scaler: bool = False) -> Payload:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(size, size, generator=generator)
    return Payload(
        model={"a.weight": weight, "a.half": weight.bfloat16(), "columns": weight.T, "count": torch.tensor(seed)},
        optimizer={"state": {0: {"exp_avg": weight * 0.1, "step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
        scaler={"scale": 65536.0, "growth_tracker": 7} if scaler else None,
        state={"step": 12, "best": 0.1 + 0.2, "streak": 0},
        meta={"step": 12, "epoch": 0.5, "world_size": 2, "fingerprint": "abc"},
        config_yaml="train: {epochs: 3}\n# ü\n",
    )
