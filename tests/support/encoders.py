"""Small pre-trained encoders for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asd.backbones import CrepeConfig, build_backbone
from asd.backbones.encoders.base import EncoderSettings, PretrainedEncoder, borrow

TINY_CREPE = CrepeConfig().usual_weights()


def borrowing(config: EncoderSettings) -> PretrainedEncoder:
    """An encoder with the weights of its file, ready to embed."""
    known, borrowed = borrow(config)
    found = build_backbone(known, 1, 1, borrowed)  # type: ignore[arg-type]
    assert isinstance(found, PretrainedEncoder)
    return found.eval()


def crepe(**settings: Any) -> PretrainedEncoder:
    return borrowing(CrepeConfig(**settings))


def crepe_tensors() -> dict[str, Tensor]:
    """What the file of the tiny CREPE holds."""
    return torch.load(TINY_CREPE, weights_only=True)


def changed_crepe(path: Path) -> Path:
    """The same but for one number, which no shape tells."""
    tensors = crepe_tensors()
    tensors["conv1.bias"][0] += 1
    torch.save(tensors, path)
    return path
