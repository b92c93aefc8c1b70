"""Which clips train, which validate, which are tested."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asd.data.manifest import DOMAINS, Manifest
from asd.data.plan import split_validation, uniform
from asd.data.recordings import evidence_of, recording_of
from asd.errors import UserError


@dataclass(frozen=True)
class Splits:
    """Clip indices, each ascending (shard order)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def make_splits(manifest: Manifest, seed: int, val_fraction: float) -> Splits:
    """The splits of a set; every class has at least one training clip, else UserError.

    A recording trains or validates, whole. Those with clips of the target domain all train: there are three or ten of
    them in a class of a thousand. Of a class with one recording alone, clips validate.
    """
    normal = manifest.select("train")
    recording = recording_of(manifest)[normal]
    many = ~np.isin(recording, recording[manifest.domain_index[normal] == DOMAINS.index("target")])
    evidence = evidence_of(manifest, normal[many])
    keys = _names(manifest, normal[many], evidence)
    _, held_out = split_validation(keys, evidence, manifest.class_index[normal[many]], seed, val_fraction)
    found = np.bincount(manifest.class_index[normal], minlength=len(manifest.classes))
    if not found.all():
        empty = manifest.classes[int(np.flatnonzero(found == 0)[0])]
        raise UserError(f"class {empty} of {manifest.root} has no training clip: pack the set again without it")
    validation = normal[many][held_out]
    return Splits(np.setdiff1d(normal, validation, assume_unique=True), validation, manifest.select("test"))


def _names(manifest: Manifest, clips: np.ndarray, evidence: np.ndarray) -> list[str]:
    """What the split goes by, however the set was shuffled: a clip's recording, or its key where it stands alone."""
    keys = manifest.strings("key", clips)
    _, member, counts = np.unique(evidence, return_inverse=True, return_counts=True)
    if (counts == 1).all():
        return keys
    names = zip(counts[member] > 1, manifest.strings("recording", clips), keys, strict=True)
    return [recording if shared else key for shared, recording, key in names]


def subset_per_class(manifest: Manifest, clips: np.ndarray, seed: int, per_class: int | None) -> np.ndarray:
    """At most per_class clips of every class and domain, drawn by (seed, clip index); all where it is None.

    By domain, so that the few target-domain clips of a class stay among what its scorers know.
    """
    if per_class is None:
        return clips
    group = manifest.class_index[clips] * len(DOMAINS) + manifest.domain_index[clips]
    order = np.lexsort((uniform(seed, 0, clips), group))
    groups = group[order]
    rank_in_group = np.arange(len(order)) - np.searchsorted(groups, groups)
    return np.sort(clips[order[rank_in_group < per_class]])
