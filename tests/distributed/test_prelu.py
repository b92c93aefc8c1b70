"""PReLU with a gradient of its own, against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asd.distributed.cpu import use_vector_prelu
from asd.distributed.prelu import VectorPReLU


def trained(module: nn.PReLU, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients of input and slopes."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    output = module(x)
    output.backward(grad)
    assert x.grad is not None and module.weight.grad is not None
    return output.detach(), x.grad, module.weight.grad


@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (4, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_values_and_gradients_as_torchs(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    if len(shape) == 4:
        x, grad = (t.to(memory_format=torch.channels_last) for t in (x, grad))
    x[0, 0] = 0.0  # at the kink the slope counts
    slopes = torch.linspace(-0.5, 1.5, 6)
    ours, theirs = VectorPReLU(6), nn.PReLU(6)
    for module in (ours, theirs):
        module.weight.data.copy_(slopes)
    if dtype == torch.bfloat16:
        theirs.to(dtype)  # ours takes the input's precision, as under autocast
    found, wanted = trained(ours, x, grad), trained(theirs, x, grad)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])
    torch.testing.assert_close(found[2], wanted[2].float(), rtol=1e-5 if dtype == torch.float32 else 2e-2, atol=1e-5)


def test_a_value_that_is_not_finite_shows_in_the_gradient() -> None:
    module = VectorPReLU(2)
    x = torch.tensor([[1.0, float("nan")]])
    _, _, slopes = trained(module, x, torch.ones(1, 2))
    assert not slopes.isfinite().all()


def test_ranks_on_a_cpu_train_with_it_and_keep_the_weights_names() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.PReLU(4), nn.Sequential(nn.PReLU()))
    names = list(model.state_dict())
    use_vector_prelu(model)
    assert [type(module) for module in model.modules()].count(VectorPReLU) == 2
    assert list(model.state_dict()) == names
