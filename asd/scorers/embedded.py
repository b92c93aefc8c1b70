"""What one pass of the network over a list of clips leaves behind: all that any scorer sees.

N clips, D embedding, C classes, M mel bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from asd.errors import UserError

_DTYPES = {
    "clip_index": torch.int64,
    "class_index": torch.int64,
    "embedding": torch.float32,
    "logits": torch.float32,
    "features": torch.float32,
}


@dataclass(frozen=True)
class Embedded:
    """One row a clip; CPU tensors.

    clip_index (N,) int64, into the clips table. class_index (N,) int64, into the class table: the clip's own class.
    embedding (N, D) float32. logits (N, C) float32, without margin. features (N, M) float32, time-mean log-mel in dB.
    """

    clip_index: Tensor
    class_index: Tensor
    embedding: Tensor
    logits: Tensor
    features: Tensor

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            tensor = getattr(self, name)
            dimensions = 1 if dtype == torch.int64 else 2
            if tensor.dtype != dtype or tensor.dim() != dimensions or tensor.device.type != "cpu":
                found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
                raise ValueError(f"Embedded.{name} must be {dtype} with {dimensions} dimensions on the CPU, is {found}")
            if len(tensor) != len(self.clip_index):
                raise ValueError(f"Embedded.{name} has {len(tensor)} rows, clip_index has {len(self.clip_index)}")

    def __len__(self) -> int:
        return len(self.clip_index)

    def select(self, mask_or_index: Tensor) -> Embedded:
        """The clips that a boolean mask (N,) or an index tensor (n,) names, in that order."""
        return Embedded(**{name: getattr(self, name)[mask_or_index] for name in _DTYPES})

    def to_tensors(self, prefix: str) -> dict[str, Tensor]:
        """`<prefix>.<field>` → tensor, as safetensors stores them."""
        return {f"{prefix}.{field.name}": getattr(self, field.name).contiguous() for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str) -> Embedded:
        """The inverse of `to_tensors`; UserError where one is missing."""
        missing = [name for name in _DTYPES if f"{prefix}.{name}" not in tensors]
        if missing:
            raise UserError(f"the embeddings hold no {prefix}.{missing[0]}: embed the checkpoint again")
        return cls(**{name: tensors[f"{prefix}.{name}"] for name in _DTYPES})
