"""Two microphones, one near the machine and a reference far from it, which hears more of the noise around (DCASE 2026).

embedding = near − weight·reference, of any network: what both hear counts for less. Training hears the near one alone.
Legend: B clips.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from asd.data.batch import Batch
from asd.tasks.base import Embedding


@torch.no_grad()
def embed(task: nn.Module, batch: Batch, weight: float) -> Embedding:
    """What evaluation keeps of a batch of clips of one length.

    weight: of the reference's embedding, where the batch has a reference; logits, errors and features are of the near
    microphone. As in the public code of UTurtle/residual_view, which has 0.5.
    """
    near: Embedding = task.embed(batch)  # type: ignore[operator]
    if batch.reference is None:
        return near
    reference: Embedding = task.embed(replace(batch, waveform=batch.reference))  # type: ignore[operator]
    return replace(near, embedding=near.embedding - weight * reference.embedding)
