"""The autoencoder baseline: official size, shape, gradients, precision, memory format."""

from __future__ import annotations

import itertools

import pytest
import torch

from asd.backbones import AutoencoderConfig, build_reconstructor
from tests.support.nets import SMALL_AUTOENCODER, count, decibels, running, with_norm, without_gradient


def test_has_the_official_size():
    """Keras counts the running statistics: 269,992."""
    with torch.device("meta"):
        network = build_reconstructor(AutoencoderConfig(), channels=1, bins=128)
    sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    dense = sum(inner * outer + outer for inner, outer in itertools.pairwise(sizes))
    assert count(network) == dense + 2 * sum(sizes[1:-1])
    assert count(network) + running(network) == 269_992


def test_reconstructs_in_the_shape_of_the_windows():
    network, windows = build_reconstructor(SMALL_AUTOENCODER, 2, 32).eval(), decibels(7, 2, 32, 5)
    assert network(windows).shape == network.target(windows).shape == windows.shape
    assert network.target(windows).equal(windows)
    assert network.encode(windows).shape == (7, network.embedding_dim) == (7, 16)
    assert (network.encode(windows) >= 0).all()


def test_every_value_of_the_window_goes_through_the_bottleneck():
    network, windows = build_reconstructor(SMALL_AUTOENCODER, 1, 32).eval(), decibels(3, 1, 32, 5).requires_grad_()
    (network(windows) * torch.randn(3, 1, 32, 5)).sum().backward()
    assert (windows.grad != 0).any((0, 1)).all()


@pytest.mark.parametrize("norm", ["batch", "sync", "group"])
def test_every_parameter_learns_also_in_bfloat16(norm):
    torch.manual_seed(0)
    network, windows = build_reconstructor(with_norm(SMALL_AUTOENCODER, norm), 1, 32), decibels(64, 1, 32, 5)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction = network(windows)
    (reconstruction.float() - windows).square().mean().backward()
    assert reconstruction.isfinite().all()
    # A bias in front of batch statistics cancels: it has a gradient, of rounding size.
    assert without_gradient(network) == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_channels_last_gives_the_same():
    network, windows = build_reconstructor(SMALL_AUTOENCODER, 3, 32).eval(), decibels(4, 3, 32, 5)
    got = network(windows.to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, network(windows))


def test_learns_what_is_there():
    """Windows that differ in one direction alone are reconstructed far better than by their mean."""
    torch.manual_seed(0)
    network = build_reconstructor(SMALL_AUTOENCODER, 1, 16)
    windows = -40 + 10 * torch.randn(256, 1, 1, 1) * torch.randn(1, 1, 16, 5)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(600):
        optimiser.zero_grad()
        (network(windows) - windows).square().mean().backward()
        optimiser.step()
    error = (network.eval()(windows) - windows).square().mean()
    assert error < 0.1 * windows.var(0).mean()
