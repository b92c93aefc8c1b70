"""What a set of packed recordings is: `manifest.json` (small, written last) and `clips.parquet` (one row a clip).

The tars beside them are ordinary webdataset shards; the table adds where in its tar each clip lies, so that a reader
can fetch any clip with one system call. The full schema stands in docs/files.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pydantic

from asd.data.clips_schema import CLIPS_SCHEMA, SCHEMAS
from asd.data.heard import Heard
from asd.data.tar_source import Tars
from asd.errors import UserError
from asd.files.checksum import sha256_of
from asd.files.safe_parquet import read_table

FORMAT_VERSION = 3
WITH_FAULTS = 4  # the same of a set with known faults, which older programs would take for normal clips
WITH_REFERENCE = 5  # the same of a set with two channels, with known faults or without
MANIFEST_FILE = "manifest.json"
CLIPS_FILE = "clips.parquet"
ORIGIN_FILE = "origin"  # in a cached set (asd.data.cache.cached_set) only, whose tars come when they are needed
READ = "format 2 to 5"
SOUNDLESS = "soundless "  # and a machine: the note of how many training clips it has, none of which holds sound
UNHASHED = ("heard", "notes")  # of manifest.json: how the set came to be, not what it is
CODECS = ("pcm16", "flac")
SPLITS = ("train", "test")
DOMAINS = ("", "source", "target")
LABEL_NORMAL, LABEL_ANOMALY, LABEL_UNKNOWN = 0, 1, -1
LABELS = {  # as tables write them
    "normal": LABEL_NORMAL,
    "anomaly": LABEL_ANOMALY,
    "unknown": LABEL_UNKNOWN,
    "0": LABEL_NORMAL,
    "1": LABEL_ANOMALY,
    "-1": LABEL_UNKNOWN,
}
MAX_BYTES, MAX_RATE = 2**50, 1_000_000  # of a tar; Hz: beyond these a number is an error, or meant to do harm
NO_NAME = re.compile(r"^\.|[/\\\x00-\x1f\x7f-\x9f]")  # of a machine: hidden, leads elsewhere, drives a terminal


class MachineClass(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One class of the proxy task: a machine type and the ID (or section) of one unit of it."""

    machine_type: str
    machine_id: str

    @pydantic.field_validator("machine_type", "machine_id")
    @classmethod
    def _names_one_folder(cls, name: str) -> str:
        """Runs of a sweep and files of scores are called after machines."""
        if NO_NAME.search(name):
            raise ValueError("a name cannot be printed, or leads into another folder")
        return name

    def __str__(self) -> str:
        return f"{self.machine_type}/{self.machine_id}"


class Shard(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One tar of the set."""

    file: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.tar$")
    bytes: int = pydantic.Field(ge=0, le=MAX_BYTES)
    sha256: str
    clips: int = pydantic.Field(ge=0, le=MAX_BYTES)


class ManifestFile(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The content of manifest.json."""

    format: Literal[2, 3, 4, 5]  # 2: without recordings, each clip is one of its own; 4: with known faults; 5: stereo
    name: str
    layout: str = pydantic.Field(min_length=1)  # of the recordings: dcase2020 …, mimii, table
    sample_rate: int = pydantic.Field(gt=0, le=MAX_RATE)
    classes: tuple[MachineClass, ...]
    shards: tuple[Shard, ...]
    clips_sha256: str
    fingerprint: str
    heard: Heard | None = None  # of the recordings; sets of older versions do not say
    notes: dict[str, int] = {}  # what packing counted on the way: skipped, resampled, duplicates


@dataclass(frozen=True)
class ProxyClasses:
    """What a network is taught to tell apart where these are parts of machines: see asd.data.proxy."""

    names: tuple[str, ...]  # such as `fan/00 source car=A1,spd=28V`, machine by machine
    machine: tuple[int, ...]  # of each, the class of the set that it is a part of
    of_clip: np.ndarray  # (clips,) int32, that of each training clip; -1 for others


@dataclass(frozen=True)
class Manifest:
    """A packed set, open for reading. Numeric columns are numpy arrays of one entry a clip."""

    root: Path
    file: ManifestFile
    table: pa.Table
    tars: Tars | None = None  # None: all are in the folder
    proxy: ProxyClasses | None = None  # None: machines themselves are told apart

    @property
    def classes(self) -> tuple[MachineClass, ...]:
        return self.file.classes

    @property
    def taught(self) -> list[str]:
        """Names of what a network is taught to tell apart, such as fan/00, in order."""
        return [str(own) for own in self.classes] if self.proxy is None else list(self.proxy.names)

    @property
    def sample_rate(self) -> int:
        return self.file.sample_rate

    @property
    def channels(self) -> int:
        """Of every clip: 1, or 2 where there is a reference microphone beside the near one."""
        return 2 if self.file.format == WITH_REFERENCE else 1

    @property
    def fingerprint(self) -> str:
        return self.file.fingerprint

    def __len__(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> np.ndarray:
        """A numeric column as a numpy array, (clips,)."""
        return self.table.column(name).to_numpy()

    @cached_property
    def frames(self) -> np.ndarray:
        return self.column("frames")

    @cached_property
    def class_index(self) -> np.ndarray:
        return self.column("class_index")

    @cached_property
    def label(self) -> np.ndarray:
        return self.column("label")

    @cached_property
    def domain_index(self) -> np.ndarray:
        """Index into DOMAINS of every clip."""
        return self.codes("domain", DOMAINS)

    def strings(self, name: str, indices: np.ndarray | None = None) -> list[str]:
        """A text column, whole or at the given clips."""
        column = self.table.column(name)
        return (column if indices is None else column.take(pa.array(indices))).to_pylist()

    def select(self, split: str) -> np.ndarray:
        """Indices of a split's clips that belong to a class, in the order in which they lie in the shards; those of
        training are normal."""
        return np.flatnonzero(self._is_of(split) & ~self.is_known_fault & (self.class_index >= 0))

    @cached_property
    def training_clips(self) -> np.ndarray:
        """Indices of all normal training clips, also of those that belong to no class of a restricted set."""
        return np.flatnonzero(self._is_of("train") & ~self.is_known_fault)

    @cached_property
    def is_known_fault(self) -> np.ndarray:
        """(clips,) bool: anomalies among the training clips. No bank, threshold, validation or test holds one."""
        return self._is_of("train") & (self.label == LABEL_ANOMALY)

    @cached_property
    def known_faults(self) -> np.ndarray:
        """Indices of the known faults that belong to a class."""
        return np.flatnonzero(self.is_known_fault & (self.class_index >= 0))

    def _is_of(self, split: str) -> np.ndarray:
        return self.codes("split", SPLITS) == SPLITS.index(split)

    @cached_property
    def is_flac(self) -> np.ndarray:
        return self.codes("codec", CODECS) == CODECS.index("flac")

    def codes(self, name: str, words: Sequence[str]) -> np.ndarray:
        """A word column as indices into words."""
        column = self.table.column(name).combine_chunks()
        translate = np.array([words.index(word) for word in column.dictionary.to_pylist()], dtype=np.int32)
        return translate[column.indices.to_numpy()]


def class_table(types_and_ids: Sequence[tuple[str, str]]) -> tuple[MachineClass, ...]:
    """The sorted classes found among (machine type, machine ID) pairs; never a fixed number of them."""
    return tuple(MachineClass(machine_type=t, machine_id=i) for t, i in sorted(set(types_and_ids)))


def fingerprint_of(body: dict[str, Any]) -> str:
    """What tells two sets apart: a hash of all that manifest.json says but itself and UNHASHED."""
    hashed = {name: value for name, value in body.items() if name not in ("fingerprint", *UNHASHED)}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def load_manifest(root: Path) -> Manifest:
    """Open a packed set and check that table and tars are the ones the manifest speaks of (sizes, not contents).

    Raises UserError where the folder is no set, or a tar or the table is missing, cut short or exchanged.
    """
    path = root / MANIFEST_FILE
    if not path.is_file():
        raise UserError(f"{root} holds no {MANIFEST_FILE}: it is not a packed set, or packing did not finish")
    file = parse_manifest(path.read_bytes(), str(path))
    manifest = Manifest(root, file, _load_clips(root, file))
    _check_shards(manifest)
    _check_words(manifest)
    _check_bounds(manifest)
    return manifest


def parse_manifest(content: bytes, path: str) -> ManifestFile:
    """The content of a manifest.json; UserError, naming `path`, where it is none or was changed after packing."""
    try:
        file = ManifestFile.model_validate_json(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "format" and first["type"] == "literal_error":
            found = repr(first["input"])[:20]
            raise UserError(f"{path} is of format {found}, where {READ} is read: pack the set again") from None
        raise UserError(f"{path} is not a manifest of {READ}: {where}: {first['msg']}") from None
    if fingerprint_of(file.model_dump(mode="json")) != file.fingerprint:
        raise UserError(f"{path} was changed after packing (its fingerprint differs): copy it again, or pack again")
    return file


def _load_clips(root: Path, file: ManifestFile) -> pa.Table:
    path = root / CLIPS_FILE
    if not path.is_file():
        raise UserError(f"{path} is missing: pack the set again")
    if sha256_of(path) != file.clips_sha256:
        raise UserError(f"{path} does not match {MANIFEST_FILE} (its hash differs): pack the set again")
    table = read_table(path, SCHEMAS[file.format])
    if table is None:
        raise UserError(f"{path} has other columns than format {file.format}: pack the set again")
    if "recording" not in table.column_names:
        table = table.append_column(CLIPS_SCHEMA.field("recording"), pa.array([""] * len(table)))
    return table.unify_dictionaries().combine_chunks()


def _check_shards(manifest: Manifest) -> None:
    if (manifest.root / ORIGIN_FILE).is_file():  # what is there was verified when it came
        return
    for shard in manifest.file.shards:
        path = manifest.root / shard.file
        try:
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{path} is missing: copy it again, or pack the set again") from None
        if size != shard.bytes:
            raise UserError(f"{path} has {size} bytes where {MANIFEST_FILE} says {shard.bytes}: copy or pack it again")


def _check_words(manifest: Manifest) -> None:
    for name, words in (("codec", CODECS), ("split", SPLITS), ("domain", DOMAINS)):
        if strange := set(manifest.table.column(name).unique().to_pylist()) - set(words):
            raise UserError(f"{manifest.root / CLIPS_FILE}: {name} {strange.pop()!r} is none of {words}: pack again")


def _check_bounds(manifest: Manifest) -> None:
    """Every clip lies within its tar and names a class: a damaged table must not send reads elsewhere."""
    columns = ("shard", "offset", "size", "payload_offset", "channels")
    shard, offset, size, payload, channels = (manifest.column(name) for name in columns)
    shard_bytes = np.array([s.bytes for s in manifest.file.shards], dtype=np.int64)
    good = (shard >= 0) & (shard < len(shard_bytes)) & (offset >= 0) & (size >= 0) & (payload >= 0)
    good &= (channels == manifest.channels) & (manifest.frames > 0)
    good &= (manifest.class_index >= 0) & (manifest.class_index < len(manifest.classes))
    good[good] &= offset[good] <= (shard_bytes[shard[good]] - size[good])  # sums of damaged numbers could overflow
    room = np.maximum(size - payload, 0) // (2 * manifest.channels)
    good &= manifest.is_flac | (manifest.frames <= room)
    if not good.all():
        key = manifest.strings("key", np.flatnonzero(~good)[:1])[0]
        raise UserError(f"{manifest.root / CLIPS_FILE}: clip {key} lies outside its tar or class table: pack again")
