"""Embeddings of a made-up test set with the structure of a real one.

Legend: N clips, D embedding, C classes, M mel bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from asd.data.manifest import DOMAINS, LABEL_ANOMALY, Manifest, load_manifest
from asd.scorers import EmbeddingTable
from asd.scorers.residuals import ResidualMoments
from benchmarks.speed.start_up_set import CLASSES, sparse_set

BANDS = 128
SCALE = 30.0  # of the loss: logits are this times a cosine
HELD_OUT = 0.05  # of the training clips
SPREAD, SHIFT = 0.7, 0.3  # of a clip around its class centre, and of an anomaly from there, in lengths of the centre


@dataclass(frozen=True)
class Clips:
    """What scoring starts from: fit, held-out and test clips, and the set they are of."""

    manifest: Manifest
    fit: EmbeddingTable
    validation: EmbeddingTable
    test: EmbeddingTable


def make_clips(folder: Path, clips: int, dim: int, seed: int = 0) -> Clips:
    """About `clips` training clips (5 % of them held out) and as many test clips, half of them anomalous, of 41
    classes; embeddings of `dim` numbers. The set has no sound, since scoring reads none."""
    of_each = clips // len(CLASSES) * len(CLASSES)
    return clips_of(load_manifest(sparse_set(folder, of_each, of_each)), dim, seed)


def clips_of(manifest: Manifest, dim: int, seed: int = 0) -> Clips:
    """The same for the clips of a set that is there."""
    random, classes = torch.Generator().manual_seed(seed), len(manifest.classes)
    centre, stray = (normalize(torch.randn(classes, dim, generator=random)) for _ in range(2))  # (C, D)
    spectrum = -40.0 + 8.0 * torch.randn(classes, BANDS, generator=random)  # (C, M)
    residuals = ResidualMoments.zeros(classes, dim, torch.device("cpu"))
    vectors = torch.randn(classes, 2 * dim, dim, generator=random)
    residuals.add(vectors, torch.arange(classes) * len(DOMAINS), torch.ones(classes, dtype=torch.bool))

    def embedded(clips: np.ndarray) -> EmbeddingTable:
        own = torch.from_numpy(manifest.class_index[clips].astype(np.int64))
        anomalous = torch.from_numpy(manifest.label[clips] == LABEL_ANOMALY).float()[:, None]
        noise = SPREAD * torch.randn(len(clips), dim, generator=random) / dim**0.5
        embedding = centre[own] + noise + SHIFT * anomalous * stray[own]
        logits = SCALE * normalize(embedding) @ centre.T
        return EmbeddingTable(
            clip_index=torch.from_numpy(clips.astype(np.int64)),
            class_index=own,
            domain=torch.from_numpy(manifest.domain_index[clips].astype(np.int64)),
            embedding=embedding,
            logits=logits,
            faults=-logits,
            errors=1.0 + 0.2 * torch.rand(len(clips), 3, generator=random) + 0.1 * anomalous,
            features=spectrum[own] + 3.0 * torch.randn(len(clips), BANDS, generator=random) + 2.0 * anomalous,
            residuals=residuals,
        )

    train, test = (manifest.select(split) for split in ("train", "test"))
    held_out = np.arange(len(train)) % round(1 / HELD_OUT) == 0
    return Clips(manifest, embedded(train[~held_out]), embedded(train[held_out]), embedded(test))
