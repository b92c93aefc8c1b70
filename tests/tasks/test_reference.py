"""embedding = near − weight·reference, of any task; all else is of the near microphone."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from asd.backbones import MultiBranchConfig
from asd.backbones.statistics import StatisticsConfig
from asd.frontends import WaveformConfig, WindowsConfig
from asd.losses import SubClusterAdaCosConfig
from asd.tasks.reference import embed
from tests.support.parts import FRONTEND, WINDOWS, batch_of, task_of

STATISTICS = StatisticsConfig(ranks=(1.0,))
AUTOENCODER = {"name": "autoencoder", "frames": 5, "hidden": [8], "bottleneck": 4, "norm": "group"}
SYSTEMS: dict[str, dict[str, Any]] = {
    "classifier": {},
    "windows": {"windows": WINDOWS, "statistics": STATISTICS},
    "statistics": {"task": {"name": "untrained"}, "backbone": STATISTICS, "loss": None},
    "multi_branch": {
        "frontend": WaveformConfig(mel=FRONTEND),
        "backbone": MultiBranchConfig(n_fft=(256,), fft_samples=None, width=16),
        "loss": SubClusterAdaCosConfig(),
    },
    "known faults": {"task": {"name": "outlier_exposure"}},
    "autoencoder": {
        "windows": WindowsConfig(frames=5, hop=2),
        "task": {"name": "reconstruction", "network": AUTOENCODER},
        "backbone": None,
        "loss": None,
    },
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_reference_counts_by_its_weight_in_the_embedding_alone(system: str) -> None:
    task, near, far = task_of(**SYSTEMS[system]).eval(), batch_of([0, 1, 2], seed=1), batch_of([0, 1, 2], seed=2)
    alone, other = (embed(task, batch, 0.5) for batch in (near, far))
    found = embed(task, replace(near, reference=far.waveform), 0.3)
    assert torch.equal(found.embedding, alone.embedding - 0.3 * other.embedding)
    assert not torch.allclose(found.embedding, alone.embedding, atol=1e-3)
    for name in (field.name for field in fields(found) if field.name != "embedding"):
        own, wanted = getattr(found, name), getattr(alone, name)
        assert (own is wanted is None) or torch.equal(own, wanted) or bool(own.isnan().all() & wanted.isnan().all())
