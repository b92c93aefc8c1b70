"""Packed sets of any size that take no room: a real manifest, a real table, and tars that are holes.

A tar holds the headers of its first and last audio member, which opening a set looks at; all else of it, the samples
too, was never written and reads as zeros. Such a set measures everything but the disk.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from asd.audio.wav import HEADER_BYTES
from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.manifest import (
    LABEL_ANOMALY,
    LABEL_NORMAL,
    MANIFEST_FILE,
    Shard,
    class_table,
    load_manifest,
)
from asd.data.manifest_writer import write_manifest

RATE = 16_000
CLIP_S = 10
CLIPS_A_SHARD = 320  # 98 MiB
UNITS = {"ToyCar": 7, "ToyConveyor": 6, "fan": 7, "pump": 7, "slider": 7, "valve": 7}  # 41 classes, as DCASE 2020
CLASSES = [(machine, f"{unit:02d}") for machine, units in UNITS.items() for unit in range(units)]
BLOCK = tarfile.BLOCKSIZE
WAV_BYTES = HEADER_BYTES + 2 * RATE * CLIP_S
CLIP_BYTES = 3 * BLOCK + -(-WAV_BYTES // BLOCK) * BLOCK  # header and json, header and WAV


def sparse_set(folder: Path, train: int, test: int) -> Path:
    """A set of so many training and test clips of 10 s, made where it is not there; half of the test clips of every
    class are anomalous."""
    if (folder / MANIFEST_FILE).is_file() and len(load_manifest(folder)) == train + test:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_columns("train", train, 0)]
    parts.append(_columns("test", test, int(parts[0]["shard"][-1]) + 1))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    table = pa.table({field.name: pa.array(columns[field.name], _plain(field.type)) for field in CLIPS_SCHEMA})
    shards = list(_write_tars(folder, columns["key"], columns["shard"]))
    write_manifest(folder, folder.name, "dcase2020", RATE, class_table(CLASSES), shards, table, {})
    return folder


def _columns(split: str, count: int, first_shard: int) -> dict[str, np.ndarray]:
    """The clips table of one split, in the shuffled order that packing gives it."""
    place = np.arange(count)
    number = np.random.default_rng(0).permutation(count)
    class_index = number % len(CLASSES)
    machine, unit = np.array(CLASSES)[class_index].T
    anomalous = (number // len(CLASSES) % 2 == 1) & (split == "test")
    names = [f"{n:08d}_id_{i}" for i, n in zip(unit.tolist(), number.tolist(), strict=True)]
    keys = [f"{m}-{split}-{name}" for m, name in zip(machine.tolist(), names, strict=True)]
    same = {"size": WAV_BYTES, "payload_offset": HEADER_BYTES, "codec": "pcm16", "frames": RATE * CLIP_S}
    same |= {"channels": 1, "domain": "", "split": split, "attributes": "", "recording": ""}
    return {name: np.full(count, value) for name, value in same.items()} | {
        "key": np.array(keys),
        "shard": first_shard + place // CLIPS_A_SHARD,
        "offset": place % CLIPS_A_SHARD * CLIP_BYTES + 3 * BLOCK,
        "class_index": class_index,
        "machine_type": machine,
        "machine_id": unit,
        "label": np.where(anomalous, LABEL_ANOMALY, LABEL_NORMAL),
        "file_name": np.array([f"{name}.wav" for name in names]),
    }


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type before the manifest's writer turns repeated words into a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _write_tars(folder: Path, keys: np.ndarray, shard_of: np.ndarray) -> Iterator[Shard]:
    """Every tar as a hole with two headers in it. No sha256 is known: only shards.verify would ask for it."""
    edges = np.flatnonzero(np.diff(shard_of, prepend=-1, append=-1))
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        file = f"clips-{shard_of[first]:06d}.tar"
        size = _write_tar(folder / file, keys[first:end])
        yield Shard(file=file, bytes=size, sha256="0" * 64, clips=end - first)


def _write_tar(path: Path, keys: np.ndarray) -> int:
    size = len(keys) * CLIP_BYTES + 2 * BLOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        os.truncate(descriptor, size)
        for place in (0, len(keys) - 1):
            header = tarfile.TarInfo(f"{keys[place]}.wav")
            header.size = WAV_BYTES
            os.pwrite(descriptor, header.tobuf(tarfile.USTAR_FORMAT), place * CLIP_BYTES + 2 * BLOCK)
    finally:
        os.close(descriptor)
    return size
