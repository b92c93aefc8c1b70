"""`python -m shards.verify DIR`: read a packed set again, all of it, through its table and through webdataset."""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile

from asd.audio.levels import level_faults
from asd.data.manifest import LABEL_ANOMALY, MachineClass, Manifest, load_manifest
from asd.errors import UserError, printable, run_main
from asd.files.checksum import sha256_of
from asd.files.paths import user_path
from shards.levels import ClipLevel, level_lines
from shards.options import positive
from shards.progress import clip_bar
from shards.webdataset_import import import_webdataset
from shards.workers import Tick, available_cores, clean_up_on_signals, run_jobs
from shards.writer import EXTENSIONS

MAX_PROBLEMS = 10
JSON_COLUMNS = ("machine_type", "machine_id", "split", "label", "domain", "attributes", "file_name", "frames")
BYTES_PER_WORKER = 256 << 20  # about a second's work of one core; a process takes as long to start


@dataclass(frozen=True)
class ShardCheck:
    """One tar to check against its lines of the clips table, in the order of their offsets."""

    path: Path
    sha256: str
    sample_rate: int
    classes: tuple[MachineClass, ...]
    table: pa.Table


@dataclass
class Checked:
    """What is wrong with a tar, or a set, and the levels of its clips."""

    problems: list[str] = field(default_factory=list)
    levels: list[ClipLevel] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m shards.verify", description="Read and check a whole packed set.")
    parser.add_argument("set", type=user_path, metavar="DIR", help="folder of the packed set")
    parser.add_argument("--workers", type=positive, help="processes (default: as many as help)")
    options = parser.parse_args(argv)
    manifest = load_manifest(options.set)
    with clean_up_on_signals():
        worth = min(available_cores(), 1 + sum(shard.bytes for shard in manifest.file.shards) // BYTES_PER_WORKER)
    found = look(manifest, options.workers or worth)
    problems = found.problems
    for line in level_lines(found.levels):
        print(printable(line))
    for problem in problems[:MAX_PROBLEMS]:
        print(printable(f"bad: {problem}"))
    if problems:
        more = f" (the first {MAX_PROBLEMS} are shown)" if len(problems) > MAX_PROBLEMS else ""
        raise UserError(f"{options.set}: {len(problems)} problems{more}: copy the set again, or pack it again")
    print(f"ok: {len(manifest):,} clips of {len(manifest.classes)} classes in {len(manifest.file.shards)} shards")
    return 0


def verify(manifest: Manifest, workers: int = 1) -> list[str]:
    """Every problem found, one line each: hashes, keys, and every clip read in both ways."""
    return look(manifest, workers).problems


def look(manifest: Manifest, workers: int = 1) -> Checked:
    """All tars, and the table by itself."""
    result = Checked(list(_table_problems(manifest)))
    with clip_bar("checking", len(manifest)) as bar:
        for found in run_jobs(check_shard, shard_checks(manifest), workers, bar):
            result.problems += found.problems
            result.levels += found.levels
    return result


def _table_problems(manifest: Manifest) -> Iterator[str]:
    keys = manifest.strings("key")
    if len(set(keys)) < len(keys):
        yield f"the table has {len(keys) - len(set(keys))} repeated keys"
    for key in (key for key in keys if "." in key):
        yield f"the key {key} contains a dot, at which webdataset would split it"
    counts = np.bincount(manifest.column("shard"), minlength=len(manifest.file.shards))
    for shard, count in zip(manifest.file.shards, counts.tolist(), strict=True):
        if shard.clips != count:
            yield f"{shard.file}: the manifest says {shard.clips} clips, the table lists {count}"


def shard_checks(manifest: Manifest) -> list[ShardCheck]:
    """One job a tar."""
    table = manifest.table.sort_by("offset")
    number = table.column("shard")
    return [
        ShardCheck(
            manifest.root / shard.file,
            shard.sha256,
            manifest.sample_rate,
            manifest.classes,
            table.filter(pc.equal(number, index)),
        )
        for index, shard in enumerate(manifest.file.shards)
    ]


def check_shard(check: ShardCheck, tick: Tick) -> Checked:
    """What is found in one tar. Its clips come from webdataset in order, and again through their offsets."""
    name, found = check.path.name, Checked()
    problems = found.problems
    if sha256_of(check.path) != check.sha256:
        problems.append(f"{name}: its content is not what was packed (sha256 differs)")
    descriptor = os.open(check.path, os.O_RDONLY)
    try:
        check_unsafe_members(descriptor)
        for row, sample in zip_longest(check.table.to_pylist(), webdataset_samples(descriptor)):
            problems += [
                f"{name}: {problem}" for problem in _clip_problems(row, sample, descriptor, check, found.levels)
            ]
            tick()
    except Exception as error:  # damaged tars fail in many ways inside the library; each is a finding
        problems.append(f"{name}: webdataset cannot read it to the end: {' '.join(str(error).split())[:200]}")
    finally:
        os.close(descriptor)
    return found


def check_unsafe_members(descriptor: int) -> None:
    """Raises TarError where an open tar holds more than plain files, such as one that unpacks to more than its bytes.

    webdataset reads members whole, and as large as they say they are.
    """
    with os.fdopen(os.dup(descriptor), "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        size = os.fstat(descriptor).st_size
        for member in tar:
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.offset_data + member.size > size:
                raise tarfile.TarError(f"{member.name!r} is no plain file within the tar")
    os.lseek(descriptor, 0, os.SEEK_SET)


def webdataset_samples(descriptor: int) -> Iterator[dict[str, Any]]:
    """The samples of an open tar as any webdataset user gets them, undecoded."""
    url = f"/dev/fd/{descriptor}"  # webdataset would cut a path at `#` or `?`
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing the tar to the garbage collector
        yield from import_webdataset().WebDataset([url], shardshuffle=False, empty_check=False)


def _clip_problems(
    row: dict[str, Any] | None,
    sample: dict[str, Any] | None,
    descriptor: int,
    check: ShardCheck,
    levels: list[ClipLevel],
) -> Iterator[str]:
    if row is None or sample is None or row["key"] != sample["__key__"]:
        in_table, in_tar = row and row["key"], sample and sample["__key__"]
        yield f"the table has clip {in_table} where webdataset finds {in_tar}"
        return
    extension = EXTENSIONS[row["codec"]]
    if extension not in sample or "json" not in sample:
        yield f"{row['key']} lacks its {extension} or its json member"
        return
    machine_class = MachineClass(machine_type=row["machine_type"], machine_id=row["machine_id"])
    if machine_class != check.classes[row["class_index"]]:
        yield f"{row['key']} is of {machine_class} but has the class index of {check.classes[row['class_index']]}"
    yield from _json_problems(row, sample["json"], check.sample_rate)
    yield from _audio_problems(row, sample[extension], descriptor, check.sample_rate, levels)


def _json_problems(row: dict[str, Any], member: bytes, sample_rate: int) -> Iterator[str]:
    try:
        found = json.loads(member)
    except ValueError:
        yield f"{row['key']}.json is not JSON"
        return
    expected = {name: row[name] for name in JSON_COLUMNS} | {"sample_rate": sample_rate}
    different = sorted(name for name in expected if found.get(name) != expected[name])
    if different:
        yield f"{row['key']}.json and the table differ in {', '.join(different)}"


def _audio_problems(
    row: dict[str, Any], member: bytes, descriptor: int, sample_rate: int, levels: list[ClipLevel]
) -> Iterator[str]:
    key = row["key"]
    if os.pread(descriptor, row["size"], row["offset"]) != member:
        yield f"{key}: other bytes at its offset than webdataset finds"
    try:
        samples, rate = soundfile.read(io.BytesIO(member), dtype="int16", always_2d=True)
    except soundfile.SoundFileError as error:
        yield f"{key} cannot be decoded: {str(error).split(': ', 1)[-1]}"
        return
    machine = f"{row['machine_type']}/{row['machine_id']}"
    known = (row["split"], row["label"]) == ("train", LABEL_ANOMALY)
    levels.append(ClipLevel(machine, row["split"], row["file_name"], level_faults(samples[:, 0]), known))
    if (rate, *samples.shape) != (sample_rate, row["frames"], row["channels"]):
        yield f"{key} is {len(samples)} samples of {samples.shape[1]} channels at {rate} Hz, the table says otherwise"
    payload = member[row["payload_offset"] :] if row["codec"] == "pcm16" else samples.tobytes()
    if payload != samples.astype("<i2", copy=False).tobytes():
        yield f"{key}: its samples do not begin where the table says"


if __name__ == "__main__":
    run_main(main)
