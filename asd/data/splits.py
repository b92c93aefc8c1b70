"""Training, validation and test clips."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asd.data.manifest import DOMAINS, Manifest
from asd.data.plan import uniform
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


def split_validation(
    keys: Sequence[str], recording: np.ndarray, class_index: np.ndarray, seed: int, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Split clips into (training, validation) positions, both ascending; no recording is on both sides.

    keys: of the recordings; recording: an index that all clips of one share. In every class those recordings validate
    that hold the fraction of its clips, rounded, or the least above it; the fewest that do, of equal ones those with
    the lowest hash of (seed, key). At least one where the class has two or more, never all, nor (but for a larger
    fraction) more than half of the clips or of the recordings: rather fewer clips are held out.
    """
    hashes = np.fromiter(map(zlib.crc32, map(str.encode, keys)), dtype=np.uint64, count=len(keys))
    order = np.lexsort((recording, uniform(seed, 0, hashes), class_index))
    _, starts, counts = np.unique(class_index[order], return_index=True, return_counts=True)
    held = np.zeros(len(keys), dtype=bool)
    for start, count in zip(starts, counts, strict=True):
        clips = order[start : start + count]
        _, first, member, sizes = np.unique(
            recording[clips], return_index=True, return_inverse=True, return_counts=True
        )
        by_hash = np.argsort(first)
        wanted = min(max(round(fraction * count), 1), count - 1) if fraction > 0 else 0
        most = max(wanted, count // 2), max(round(fraction * len(sizes)), len(sizes) // 2)
        held[clips[np.isin(member, by_hash[_fewest(sizes[by_hash], wanted, *most)])]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _fewest(sizes: np.ndarray, wanted: int, most: int, most_sizes: int) -> np.ndarray:
    """Which of the sizes sum up to `wanted` or the least above it, else to the most below: the fewest, the first."""
    if wanted == 0 or sizes.max() == 1:
        return np.arange(wanted)
    most = min(most, wanted + int(sizes.max()) - 1)  # with more, one of them could go
    fewest = np.full(most + 1, len(sizes) + 1)  # of the sizes so far that have each sum
    fewest[0] = 0
    used = np.zeros((len(sizes), most + 1), dtype=bool)  # whether the fewest that have a sum took on this size
    for size, last in zip(sizes, used, strict=True):
        with_it = fewest[: max(most + 1 - size, 0)] + 1
        last[size:] = with_it < fewest[size:]
        fewest[size:] = np.minimum(with_it, fewest[size:])
    sums = np.flatnonzero(fewest <= most_sizes)
    left = next(iter(sums[sums >= wanted]), sums[-1])
    found = []
    for at in range(len(sizes) - 1, -1, -1):
        if used[at, left]:
            found.append(at)
            left -= sizes[at]
    return np.array(found[::-1], dtype=np.int64)


def _names(manifest: Manifest, clips: np.ndarray, evidence: np.ndarray) -> list[str]:
    """What the split goes by, however the set was shuffled: a clip's recording, or its key where it stands alone."""
    keys = manifest.strings("key", clips)
    is_shared = np.bincount(evidence)[evidence] > 1
    if not is_shared.any():
        return keys
    names = zip(is_shared, manifest.strings("recording", clips), keys, strict=True)
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
