"""Losses, embeddings and classes for their tests."""

from __future__ import annotations

import numpy as np
import torch

from asd.losses import ArcFaceConfig, build_loss

DIM, CLASSES = 12, 7


def sample(clips: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    embedding = 5 * torch.randn(clips, DIM, generator=generator)
    return embedding, torch.randint(CLASSES, (clips,), generator=generator)


def plain(loss, embedding, classes) -> torch.Tensor:
    return loss(embedding, classes, classes, torch.ones(len(classes)))


def numpy_cosines(embedding, centres) -> np.ndarray:
    x, w = embedding.numpy().astype(np.float64), centres.detach().numpy().astype(np.float64)
    return (x / np.linalg.norm(x, axis=1)[:, None]) @ (w / np.linalg.norm(w, axis=1)[:, None]).T


def mixtures(margin: float, mixing: str):
    torch.manual_seed(0)
    return build_loss(ArcFaceConfig(margin=margin, mixing=mixing), DIM, CLASSES)
