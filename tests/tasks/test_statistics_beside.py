"""Statistics beside a network are views of one embedding, and the network's own part is what it is without them."""

from __future__ import annotations

import pydantic
import pytest
import torch

from asd.backbones import MultiBranchConfig
from asd.backbones.statistics import Statistics, StatisticsConfig
from asd.frontends import WaveformConfig, build_frontend
from asd.losses import SubClusterAdaCosConfig
from asd.tasks.system import System
from tests.support.parts import FRONTEND, RATE, WINDOWS, batch_of, task_of

STATISTICS = StatisticsConfig(ranks=(1.0,))
WAVES = {
    "frontend": WaveformConfig(mel=FRONTEND),
    "backbone": MultiBranchConfig(n_fft=(256,), fft_samples=None, width=16),
    "loss": SubClusterAdaCosConfig(),
}
FAULTS = {"task": {"name": "outlier_exposure"}}


@pytest.mark.parametrize(
    "parts", [{}, WAVES, {"windows": WINDOWS}, FAULTS], ids=["log-mel", "waveform", "windows", "faults"]
)
def test_views_are_the_network_and_the_statistics_of_whole_clips(parts: dict[str, object]) -> None:
    batch = batch_of([0, 1, 2])
    alone, beside = task_of(**parts).eval(), task_of(statistics=STATISTICS, **parts).eval()
    own, found = alone.embed(batch), beside.embed(batch)
    assert found.logits.equal(own.logits)
    assert found.loss.equal(own.loss)
    assert (found.faults is own.faults is None) or found.faults.equal(own.faults)
    first, behind, _ = beside.views["network"]
    assert found.embedding[:, :, first:behind].equal(own.embedding)
    expected = Statistics(STATISTICS, 1, FRONTEND.n_mels)
    of_clips = expected(build_frontend(FRONTEND, RATE)(batch.waveform.float() / 32768))
    assert [*beside.views] == ["network", *STATISTICS.view_names()]
    for name, (start, end, bands) in expected.views.items():
        first, behind, own_bands = beside.views[name]
        assert bands == own_bands
        for window in found.embedding[:, :, first:behind].unbind(1):
            torch.testing.assert_close(window, of_clips[:, start:end])


def test_they_are_no_weights_and_change_no_gradient() -> None:
    alone, beside = task_of(), task_of(statistics=STATISTICS)
    assert alone.state_dict().keys() == beside.state_dict().keys()
    assert alone(batch_of([0, 1, 2])).loss.equal(beside(batch_of([0, 1, 2])).loss)


def test_they_are_refused_beside_statistics() -> None:
    with pytest.raises(pydantic.ValidationError, match="views of the same name"):
        task_of(backbone=STATISTICS, loss=None, task={"name": "untrained"}, statistics=STATISTICS)


def test_they_stand_beside_an_embedding_alone() -> None:
    with pytest.raises(pydantic.ValidationError, match="no embedding for statistics to stand beside"):
        System(
            task={"name": "reconstruction", "network": {"name": "autoencoder", "frames": 5}},
            frontend=FRONTEND,
            windows={"frames": 5, "hop": 1},
            statistics=STATISTICS,
        )
