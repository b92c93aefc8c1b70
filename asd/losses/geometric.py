"""Fine-tuning of S5 (Nejjar et al. 2022): mixed labels, and embeddings that mix as their inputs do.

Legend: B batch, C classes, D embedding; weight is λ, the share of the first input of a mixture.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Reduction = Literal["sum", "mean"]


def mixed_label_kl(logits: Tensor, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """KL(λ·onehot(first) + (1 − λ)·onehot(second) ‖ softmax) per mixture, (B, C) → (B,) nats.

    first, second (B,) are classes; where they are the same, as in the report, it is the plain cross-entropy.
    """
    log_p = logits.float().log_softmax(1)
    weight = weight.float()[:, None]
    label = torch.zeros_like(log_p).scatter_add(1, first[:, None], weight).scatter_add(1, second[:, None], 1 - weight)
    return F.kl_div(log_p, label, reduction="none").sum(1)


def geometric_error(
    mixture: Tensor, first: Tensor, second: Tensor, weight: Tensor | float, reduction: Reduction = "mean"
) -> Tensor:
    """(f(x_λ) − (λ·f(x) + (1 − λ)·f(x')))² per mixture, (B, D) three times → (B,); eq. 1 of the report.

    reduction over D: the report writes a squared norm, a `sum`, and calls it a mean squared error; so does VICReg's
    paper, whose code takes the `mean`. The factors 25 and 25 of invariance and variance balance with the mean: the
    sum, D times as strong, outweighs the variance.
    """
    with torch.autocast(mixture.device.type, enabled=False):
        share = torch.as_tensor(weight, dtype=torch.float32, device=mixture.device).expand(len(mixture))[:, None]
        expected = share * first.float() + (1 - share) * second.float()
        squares = (mixture.float() - expected).square()
        return squares.mean(1) if reduction == "mean" else squares.sum(1)
