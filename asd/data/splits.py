"""Which clips train, which validate, which are tested."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asd.data.manifest import Manifest
from asd.data.plan import split_validation, uniform
from asd.errors import UserError


@dataclass(frozen=True)
class Splits:
    """Clip indices, each ascending (shard order)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def make_splits(manifest: Manifest, seed: int, val_fraction: float) -> Splits:
    """The splits of a set; every class has at least one training clip, else UserError."""
    normal = manifest.select("train")
    keys = manifest.strings("key", normal)
    train, validation = split_validation(keys, manifest.class_index[normal], seed, val_fraction)
    found = np.bincount(manifest.class_index[normal], minlength=len(manifest.classes))
    if not found.all():
        empty = manifest.classes[int(np.flatnonzero(found == 0)[0])]
        raise UserError(f"class {empty} of {manifest.root} has no training clip: pack the set again without it")
    return Splits(normal[train], normal[validation], manifest.select("test"))


def fit_subset(manifest: Manifest, train: np.ndarray, seed: int, per_class: int | None) -> np.ndarray:
    """At most per_class training clips of every class, drawn by (seed, clip index); all where it is None."""
    if per_class is None:
        return train
    order = np.lexsort((uniform(seed, 0, train), manifest.class_index[train]))
    classes = manifest.class_index[train][order]
    rank_in_class = np.arange(len(order)) - np.searchsorted(classes, classes)
    return np.sort(train[order[rank_in_class < per_class]])
