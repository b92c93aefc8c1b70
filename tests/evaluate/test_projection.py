"""Principal components for the projector."""

from __future__ import annotations

import pytest
import torch

from asd.loggers.tensorboard import principal_components


def test_narrow_embeddings_stay_as_they_are():
    vectors = torch.randn(50, 8)
    assert principal_components(vectors, 8) is vectors


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_principal_components_keep_distances(rows):
    flat = torch.randn(rows, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = torch.linalg.qr(torch.randn(200, 200, dtype=torch.float64)).Q[:6]
    found = principal_components(flat @ turned + 3.0, 16)
    assert found.shape == (rows, min(16, rows))
    torch.testing.assert_close(torch.cdist(found, found), torch.cdist(flat, flat), atol=1e-6, rtol=1e-6)
    assert torch.equal(found, principal_components(flat @ turned + 3.0, 16))
