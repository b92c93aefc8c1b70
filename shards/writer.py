"""Clips → tar shards: which clip goes into which tar is settled before the first byte is written."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np
import soundfile

from asd.audio.header import BadFileError
from asd.audio.levels import level_faults
from asd.audio.recording import Conversion, Target, read_canonical, read_pcm16
from asd.audio.wav import HEADER_BYTES, canonical_header
from asd.data.manifest import SPLITS, Shard
from asd.errors import UserError
from shards.hashed_file import HashedFile
from shards.levels import ClipLevel
from shards.scan import BadClip, ScannedClip
from shards.webdataset_import import import_webdataset
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
    faults: tuple[str, ...] = ()  # of its levels


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
    members = (HEADER_BYTES + 2 * target.channels * frames, len(clip_json(item, frames, target.sample_rate)))
    return sum(TAR_BLOCK + _blocks(member) for member in members)


def _blocks(size: int) -> int:
    """Bytes of a member filled up to whole blocks."""
    return -(-size // TAR_BLOCK) * TAR_BLOCK


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
        "recording": clip.recording,
        "sample_rate": sample_rate,
        "frames": frames,
    }
    return json.dumps(fields).encode()


def write_shard(job: ShardJob, tick: Tick) -> PackedShard:
    """Write one tar with the webdataset library. Raises BadFileError at a bad clip unless the job skips them.

    The bytes depend on the clips and the target alone: no times, no owners.
    """
    done, bad, packed = Conversion(), [], []
    with HashedFile(job.path) as file, closing(_tar_writer(file)) as tar:
        for item in job.clips:
            try:
                packed.append(_write_clip(tar, item, job.target, done))
            except BadFileError as error:
                if not job.skip_bad:
                    raise UserError(f"{item.clip.path}: {error.detail}; {HOW_TO_SKIP}") from None
                bad.append(BadClip(item.clip, error))
            tick()
    _check_places(job, packed)
    shard = Shard(file=job.path.name, bytes=file.size, sha256=file.sha256, clips=len(packed))
    return PackedShard(shard, packed, done, bad)


def packed_levels(shards: Sequence[PackedShard]) -> list[ClipLevel]:
    """Of all clips, in the order in which they were packed."""
    packed = [item for shard in shards for item in shard.clips]
    return [
        ClipLevel("/".join(clip.machine_class), clip.split, str(clip.path), item.faults, clip.is_known_fault)
        for item, clip in ((item, item.scanned.clip) for item in packed)
    ]


def _tar_writer(file: HashedFile) -> TarWriter:
    """webdataset's writer, given a tar that passes a clip on in one piece: its own cuts clips into 10 KiB records."""
    writer = import_webdataset().writer.TarWriter(file, user="", group="", mtime=0, encoder=False)
    writer.tarstream = tarfile.TarFile(
        fileobj=cast(IO[bytes], file), mode="w", format=tarfile.USTAR_FORMAT, copybufsize=COPY_BYTES
    )
    return writer


def _write_clip(tar: TarWriter, item: ScannedClip, target: Target, done: Conversion) -> PackedClip:
    """Append the two members of a clip."""
    audio, frames, faults = _encode(item, target, done)
    json_member = clip_json(item, frames, target.sample_rate)
    begin = tar.tarstream.offset
    tar.write({"__key__": item.clip.key, "json": json_member, EXTENSIONS[target.codec]: audio})
    if target.codec == "flac":  # the writer sorts the members by name
        return PackedClip(item, begin + TAR_BLOCK, len(audio), 0, frames, faults)
    return PackedClip(item, tar.tarstream.offset - _blocks(len(audio)), len(audio), HEADER_BYTES, frames, faults)


def _encode(item: ScannedClip, target: Target, done: Conversion) -> tuple[bytes, int, tuple[str, ...]]:
    """The audio member, its number of samples, and what is odd about their levels."""
    if target.codec == "pcm16" and (whole := read_canonical(item.clip.path, item.header, target)) is not None:
        faults = level_faults(np.frombuffer(whole, "<i2", offset=HEADER_BYTES))
        done.faults.update(faults)
        return whole, item.header.frames, faults
    samples, conversion = read_pcm16(item.clip.path, item.header, target)
    done.add(conversion)
    faults, rate = tuple(conversion.faults), target.sample_rate
    if target.codec == "flac":
        return _flac(samples, rate), len(samples), faults
    return canonical_header(samples.nbytes, rate, target.channels) + samples.tobytes(), len(samples), faults


def _flac(samples: np.ndarray, sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _check_places(job: ShardJob, packed: Sequence[PackedClip]) -> None:
    """Look into the finished tar for every audio member, where a reader will look for it."""
    extension = EXTENSIONS[job.target.codec]
    with job.path.open("rb", buffering=0) as file:
        for item in packed:
            found = os.pread(file.fileno(), TAR_BLOCK, item.offset - TAR_BLOCK)
            name = f"{item.scanned.clip.key}.{extension}".encode()
            assert found.startswith(name + b"\0"), "the tar is not laid out as the tar writer says"
