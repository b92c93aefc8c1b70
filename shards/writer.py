"""Clips → tar shards: which clip goes into which tar is settled before the first byte is written."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import soundfile

from asd.data.manifest import SPLITS, Shard
from asd.errors import UserError
from shards.audio import BadFileError, Conversion, Target, read_canonical, read_pcm16
from shards.lean import import_webdataset
from shards.scan import BadClip, ScannedClip
from shards.wav import HEADER_BYTES, canonical_header
from shards.workers import Tick

if TYPE_CHECKING:
    from webdataset.writer import TarWriter

EXTENSIONS = {"pcm16": "wav", "flac": "flac"}
TAR_BLOCK, TAR_RECORD = 512, 10240
COPY_BYTES = 16 << 20  # longer clips are written in pieces of this
HOW_TO_SKIP = "copy it again, or leave out what cannot be read by --skip-bad"


@dataclass(frozen=True)
class ShardJob:
    """One tar to write."""

    path: Path
    clips: Sequence[ScannedClip]
    target: Target
    skip_bad: bool


@dataclass(frozen=True, slots=True)
class PackedClip:
    """Where a clip lies in its tar."""

    scanned: ScannedClip
    offset: int
    size: int
    payload_offset: int
    frames: int


@dataclass
class PackedShard:
    """A finished tar, and what was counted while it was written."""

    shard: Shard
    clips: list[PackedClip]
    done: Conversion
    bad: list[BadClip] = field(default_factory=list)


def plan_shards(
    clips: Sequence[ScannedClip], folder: Path, target: Target, max_bytes: int, seed: int, skip_bad: bool
) -> list[ShardJob]:
    """Training and test clips apart, each shuffled by seed, cut where a tar would pass `max_bytes`."""
    jobs = []
    for split in SPLITS:
        chosen = sorted((item for item in clips if item.clip.split == split), key=lambda item: item.clip.key)
        random.Random(f"{seed}/{split}").shuffle(chosen)
        for number, part in enumerate(_cut(chosen, target, max_bytes)):
            jobs.append(ShardJob(folder / f"{split}-{number:06d}.tar", part, target, skip_bad))
    return jobs


def _cut(clips: Sequence[ScannedClip], target: Target, max_bytes: int) -> Iterator[list[ScannedClip]]:
    part: list[ScannedClip] = []
    size = TAR_RECORD
    for item in clips:
        needed = tar_bytes(item, target)
        if part and size + needed > max_bytes:
            yield part
            part, size = [], TAR_RECORD
        part.append(item)
        size += needed
    if part:
        yield part


def tar_bytes(item: ScannedClip, target: Target) -> int:
    """Bytes a clip takes in a tar, uncompressed: two headers and two members, each filled up to whole blocks."""
    frames = target.frames(item.header)
    members = (HEADER_BYTES + 2 * frames, len(clip_json(item, frames, target.sample_rate)))
    return sum(TAR_BLOCK + -(-member // TAR_BLOCK) * TAR_BLOCK for member in members)


def clip_json(item: ScannedClip, frames: int, sample_rate: int) -> bytes:
    """The json member: what webdataset users see of a clip beside its audio."""
    clip = item.clip
    fields = {
        "machine_type": clip.machine_type,
        "machine_id": clip.machine_id,
        "split": clip.split,
        "label": clip.label,
        "domain": clip.domain,
        "attributes": clip.attributes,
        "file_name": clip.file_name,
        "sample_rate": sample_rate,
        "frames": frames,
    }
    return json.dumps(fields).encode()


def write_shard(job: ShardJob, tick: Tick) -> PackedShard:
    """Write one tar with the webdataset library. Raises BadFileError at a bad clip unless the job skips them.

    The bytes depend on the clips and the target alone: no times, no owners.
    """
    done, bad, packed = Conversion(), [], []
    with job.path.open("wb", buffering=0) as file:
        hashed = _HashingFile(file)
        with closing(_tar_writer(hashed)) as tar:
            for item in job.clips:
                try:
                    packed.append((item, _write_clip(tar, item, job.target, done)))
                except BadFileError as error:
                    if not job.skip_bad:
                        raise UserError(f"{item.clip.path}: {error.detail}; {HOW_TO_SKIP}") from None
                    bad.append(BadClip(item.clip, error))
                tick()
    shard = Shard(file=job.path.name, bytes=hashed.size, sha256=hashed.digest.hexdigest(), clips=len(packed))
    return PackedShard(shard, _locate(job, packed), done, bad)


def _tar_writer(file: _HashingFile) -> TarWriter:
    """webdataset's writer, given a tar that passes a clip on in one piece: its own cuts clips into 10 KiB records."""
    writer = import_webdataset().writer.TarWriter(file, user="", group="", mtime=0, encoder=False)
    writer.tarstream = tarfile.TarFile(
        fileobj=cast(IO[bytes], file), mode="w", format=tarfile.USTAR_FORMAT, copybufsize=COPY_BYTES
    )
    return writer


def _write_clip(tar: TarWriter, item: ScannedClip, target: Target, done: Conversion) -> int:
    """Append the two members of a clip; returns its number of samples."""
    audio, frames = _encode(item, target, done)
    json_member = clip_json(item, frames, target.sample_rate)
    tar.write({"__key__": item.clip.key, "json": json_member, EXTENSIONS[target.codec]: audio})
    return frames


class _HashingFile:
    """Passes writes on and hashes them: the tar is not read again for its hash."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        left = memoryview(data)
        while left:  # an unbuffered file may take less than it was given
            left = left[self.file.write(left) :]
        return len(data)

    def tell(self) -> int:
        return self.size


def _encode(item: ScannedClip, target: Target, done: Conversion) -> tuple[bytes, int]:
    """The audio member and its number of samples."""
    if target.codec == "pcm16" and (whole := read_canonical(item.clip.path, item.header, target)) is not None:
        return whole, item.header.frames
    samples, conversion = read_pcm16(item.clip.path, item.header, target)
    done.add(conversion)
    raw = samples.tobytes()
    if target.codec == "flac":
        return _flac(raw, target.sample_rate), len(raw) // 2
    return canonical_header(len(raw), target.sample_rate) + raw, len(raw) // 2


def _flac(raw: bytes, sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.frombuffer(raw, dtype="<i2"), sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _locate(job: ShardJob, packed: Sequence[tuple[ScannedClip, int]]) -> list[PackedClip]:
    """Find the audio members by reading the finished tar, as a reader will."""
    extension = "." + EXTENSIONS[job.target.codec]
    with tarfile.open(job.path, "r:") as tar:
        members = [member for member in tar if member.name.endswith(extension)]
    with job.path.open("rb") as file:
        return [_packed(file, *entry, member) for entry, member in zip(packed, members, strict=True)]


def _packed(file: IO[bytes], item: ScannedClip, frames: int, member: tarfile.TarInfo) -> PackedClip:
    assert member.name.split(".")[0] == item.clip.key, "the tar is not in the order it was written"
    payload_offset = 0
    if member.name.endswith(".wav"):
        payload_offset = _payload_offset(file, member, frames)
    return PackedClip(item, member.offset_data, member.size, payload_offset, frames)


def _payload_offset(file: Any, member: tarfile.TarInfo, frames: int) -> int:
    file.seek(member.offset_data)
    header = file.read(HEADER_BYTES)
    assert header[36:40] == b"data" and member.size == HEADER_BYTES + 2 * frames, "not the header that was written"
    return HEADER_BYTES
