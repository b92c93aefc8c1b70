"""The expander of S5: layers, parameter counts, both kinds of output."""

from __future__ import annotations

import pydantic
import pytest
import torch
from torch import nn

from asd.backbones.expander import Expander, ExpanderConfig
from asd.backbones.norms import SyncBatchNorm


def test_three_layers_of_1280_as_the_report_says():
    expander = Expander(ExpanderConfig(), 320)
    assert [type(layer) for layer in expander] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 3
    assert sum(p.numel() for p in expander.parameters()) == 320 * 1280 + 2 * 1280 * 1280 + 3 * 2 * 1280
    output = expander(torch.randn(16, 320))
    assert output.shape == (16, expander.embedding_dim) == (16, 1280)
    assert output.min() == 0


def test_a_linear_output_as_vicreg():
    expander = Expander(ExpanderConfig(output="linear", widths=(8, 6)), 5)
    assert [type(layer) for layer in expander] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    output = expander(torch.randn(64, 5))
    assert output.shape == (64, 6) and output.min() < 0


def test_every_layer_is_normalised_before_its_relu():
    expander = Expander(ExpanderConfig(widths=(7, 5)), 4)
    normalised = nn.Sequential(*list(expander)[:-1])(100 * torch.randn(500, 4) + 30)
    torch.testing.assert_close(normalised.mean(0), torch.zeros(5), rtol=0, atol=1e-4)
    torch.testing.assert_close(normalised.var(0, correction=0), torch.ones(5), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("norm", "layer"), [("sync", SyncBatchNorm), ("group", nn.GroupNorm)])
def test_other_normalisations(norm, layer):
    expander = Expander(ExpanderConfig(norm=norm, widths=(32, 32)), 8)
    assert sum(isinstance(part, layer) for part in expander) == 2
    assert expander(torch.randn(4, 8)).shape == (4, 32)


def test_no_layers_are_refused():
    with pytest.raises(pydantic.ValidationError):
        ExpanderConfig(widths=())
