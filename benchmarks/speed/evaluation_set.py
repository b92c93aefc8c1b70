"""Embeddings of a made-up test set with the structure of a real one, and the packed set that they pretend to be of.

Legend: N clips, D embedding, C classes, M mel bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch.nn.functional import normalize

from asd.data.manifest import (
    CLIPS_SCHEMA,
    DOMAINS,
    LABEL_ANOMALY,
    LABEL_NORMAL,
    MANIFEST_FILE,
    MachineClass,
    Manifest,
    Shard,
    class_table,
    load_manifest,
    write_manifest,
)
from asd.scorers import Embedded
from asd.scorers.residuals import ResidualMoments

LAYOUT = "dcase2020"
IDS = {"ToyCar": 7, "ToyConveyor": 6, "fan": 7, "pump": 7, "slider": 7, "valve": 7}  # 41 classes, as DCASE 2020 has
BANDS = 128
SCALE = 30.0  # of the loss: logits are this times a cosine
HELD_OUT = 0.05  # of the training clips
SPREAD, SHIFT = 0.7, 0.3  # of a clip around its class centre, and of an anomaly from there, in lengths of the centre
SAMPLES = 160_000


@dataclass(frozen=True)
class Clips:
    """What scoring starts from: fit, held-out and test clips, and the set they are of."""

    manifest: Manifest
    fit: Embedded
    validation: Embedded
    test: Embedded


def make_clips(folder: Path, clips: int, dim: int, seed: int = 0) -> Clips:
    """About `clips` training clips (5 % of them held out) and as many test clips, half of them anomalous, of 41
    classes; embeddings of `dim` numbers."""
    return clips_of(make_manifest(folder, clips), dim, seed)


def clips_of(manifest: Manifest, dim: int, seed: int = 0) -> Clips:
    """The same for the clips of a set that is there."""
    random = torch.Generator().manual_seed(seed)
    shape = _Shape.draw(len(manifest.classes), dim, random)
    train, test = (manifest.select(split) for split in ("train", "test"))
    held_out = np.arange(len(train)) % round(1 / HELD_OUT) == 0
    parts = [_embedded(manifest, own, shape, random) for own in (train[~held_out], train[held_out], test)]
    return Clips(manifest, *parts)


def make_manifest(folder: Path, clips: int) -> Manifest:
    """A set of that many training and as many test clips; its one tar is a hole, since scoring reads no audio."""
    if not (folder / MANIFEST_FILE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        classes = class_table([(name, f"{n:02d}") for name, ids in IDS.items() for n in range(ids)])
        table = _clips_table(classes, clips // len(classes))
        size = (SAMPLES * 2 + 1024) * table.num_rows
        with (folder / "clips-000000.tar").open("wb") as tar:
            tar.truncate(size)
        shard = Shard(file="clips-000000.tar", bytes=size, sha256="", clips=table.num_rows)
        write_manifest(folder, "made-up", LAYOUT, 16_000, classes, [shard], table, {})
    return load_manifest(folder)


def _clips_table(classes: tuple[MachineClass, ...], per_class: int) -> pa.Table:
    """per_class training and as many test clips of every class, in an order as random as packing makes it."""
    count = 2 * per_class * len(classes)
    order = np.random.default_rng(0).permutation(count)
    own, number = np.divmod(order, 2 * per_class)
    test, anomalous = number >= per_class, number >= per_class + per_class // 2
    names = [f"{str(classes[c]).replace('/', '_')}_{n:08d}" for c, n in zip(own.tolist(), number.tolist(), strict=True)]
    columns = {
        "key": names,
        "shard": np.zeros(count, np.int32),
        "offset": np.arange(count, dtype=np.int64) * (SAMPLES * 2 + 1024) + 512,
        "size": np.full(count, SAMPLES * 2 + 44),
        "payload_offset": np.full(count, 44, np.int32),
        "codec": ["pcm16"] * count,
        "frames": np.full(count, SAMPLES),
        "channels": np.ones(count, np.int8),
        "class_index": own.astype(np.int32),
        "machine_type": [classes[c].machine_type for c in own],
        "machine_id": [classes[c].machine_id for c in own],
        "domain": [DOMAINS[0]] * count,
        "split": np.where(test, "test", "train").tolist(),
        "label": np.where(anomalous, LABEL_ANOMALY, LABEL_NORMAL).astype(np.int8),
        "attributes": [""] * count,
        "file_name": [f"{name}.wav" for name in names],
        "recording": [""] * count,
    }
    return pa.table({name: pa.array(columns[name]) for name in CLIPS_SCHEMA.names}).cast(CLIPS_SCHEMA)


@dataclass(frozen=True)
class _Shape:
    """Centres (C, D) and mean spectra (C, M) of the classes; which way (C, D) their anomalies stray; and the residual
    vectors of an autoencoder."""

    centre: torch.Tensor
    spectrum: torch.Tensor
    stray: torch.Tensor
    residuals: ResidualMoments

    @classmethod
    def draw(cls, classes: int, dim: int, random: torch.Generator) -> _Shape:
        centre, stray = (normalize(torch.randn(classes, dim, generator=random)) for _ in range(2))
        spectrum = -40.0 + 8.0 * torch.randn(classes, BANDS, generator=random)
        residuals = ResidualMoments.zeros(classes, dim, torch.device("cpu"))
        group = torch.arange(classes) * len(DOMAINS)
        vectors = torch.randn(classes, 2 * dim, dim, generator=random)
        residuals.add(vectors, group, torch.ones(classes, dtype=torch.bool))
        return cls(centre, spectrum, stray, residuals)


def _embedded(manifest: Manifest, clips: np.ndarray, shape: _Shape, random: torch.Generator) -> Embedded:
    own = torch.from_numpy(manifest.class_index[clips].astype(np.int64))
    anomalous = torch.from_numpy(manifest.label[clips] == LABEL_ANOMALY).float()[:, None]
    dim = shape.centre.shape[1]
    noise = SPREAD * torch.randn(len(clips), dim, generator=random) / dim**0.5
    embedding = shape.centre[own] + noise + SHIFT * anomalous * shape.stray[own]
    features = shape.spectrum[own] + 3.0 * torch.randn(len(clips), BANDS, generator=random) + 2.0 * anomalous
    return Embedded(
        clip_index=torch.from_numpy(clips.astype(np.int64)),
        class_index=own,
        domain=torch.from_numpy(manifest.domain_index[clips].astype(np.int64)),
        embedding=embedding,
        logits=SCALE * normalize(embedding) @ shape.centre.T,
        errors=1.0 + 0.2 * torch.rand(len(clips), 3, generator=random) + 0.1 * anomalous,
        features=features,
        residuals=shape.residuals,
    )
