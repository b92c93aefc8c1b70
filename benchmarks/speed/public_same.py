"""Whether both sides train the same network: the public code's weights in ours give its loss of the same clips."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from asd.config import load_config
from asd.tasks import build_task
from asd.tasks.classification import Classification
from benchmarks.speed.public_runs import CONFIG
from benchmarks.speed.public_sets import SAMPLE_RATE

PARTS = (("tgramnet.", "encoder.frontend."), ("mobilefacenet.", "encoder.backbone."), ("arcface.", "loss."))
UNUSED = "mobilefacenet.fc_out."


def losses(found: Path, classes: int = 41) -> tuple[float, float]:
    """(its loss, ours) of the clips in the driver's first.pt: margin on, training mode, not mixed, float32."""
    kept = torch.load(found, weights_only=True)
    torch.manual_seed(0)
    task = build_task(load_config(CONFIG), 0, SAMPLE_RATE, classes)
    assert isinstance(task, Classification)
    take_weights(task, kept["weights"])
    task.train()
    label = kept["label"]
    with torch.no_grad():
        embedding = task.encoder(kept["waveform"].squeeze(1))[:, 0]
        loss = task.loss(embedding, label, label, torch.ones(len(label))).mean()
    return kept["loss"], loss.item()


def take_weights(task: nn.Module, weights: dict[str, Tensor]) -> None:
    """Both networks hold their layers in the order of the published table: part by part, tensor by tensor."""
    own = task.state_dict()
    for theirs, ours in PARTS:
        values = [value for name, value in weights.items() if name.startswith(theirs) and not name.startswith(UNUSED)]
        names = [name for name in own if name.startswith(ours)]
        for name, value in zip(names, values, strict=True):
            own[name] = value.reshape(own[name].shape)
    task.load_state_dict(own)
