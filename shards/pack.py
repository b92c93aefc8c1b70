"""`python -m shards.pack`: recordings → webdataset tars, clips.parquet and manifest.json. See docs/data.md."""

from __future__ import annotations

import argparse
import errno
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from asd.audio.recording import Channel, Conversion, Target, read_channel
from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.heard import MAX_VALUES, Heard
from asd.data.manifest import CODECS, SOUNDLESS, ManifestFile, class_table
from asd.data.manifest_writer import write_manifest
from asd.errors import UserError, run_main
from asd.files.paths import check_over, check_within, real_path, user_path
from shards import report
from shards.ground_truth import join_ground_truth
from shards.layouts import LAYOUTS, find_clips
from shards.layouts.clip import Choices, Corpus
from shards.levels import soundless
from shards.options import count, positive
from shards.progress import clip_bar
from shards.scan import Scan, check_unfit, check_untrained, scan
from shards.staging import check_out, check_taken, staged
from shards.workers import available_cores, clean_up_on_signals, run_jobs, run_jobs_in_threads
from shards.writer import PackedClip, PackedShard, ShardJob, packed_levels, plan_shards, tar_bytes, write_shard

BYTES_PER_PROCESS = 32 << 20  # a second's work of one core at FLAC, about what a process takes to start
FULL = (errno.ENOSPC, errno.EDQUOT)


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    started = time.monotonic()
    given = [*options.source, *(options.ground_truth or [])]
    check_over("--out", options.out, given)
    check_within("--out", options.out, [place for place in given if place.is_dir()])
    check_out(options.out, options.overwrite)
    target = Target(options.sample_rate, options.channel, options.codec)
    with clean_up_on_signals():
        corpus = find_corpus(options)
        check_over("--out", options.out, [clip.path for clip in corpus.clips])
        found = scan(corpus, target)
        report.print_scan(found)
        check_unfit(found, target, options.resample, options.skip_bad)
        file, shards = write_set(options, found, target)
    report.print_packed(options.out, file, shards, time.monotonic() - started)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shards.pack", description="Pack recordings into tar shards.")
    parser.add_argument(
        "--layout", choices=LAYOUTS, required=True, help="naming scheme of the recordings, see docs/data.md"
    )
    parser.add_argument(
        "--source", type=user_path, action="append", required=True, help="folder (table: csv); repeatable"
    )
    parser.add_argument(
        "--ground-truth",
        type=user_path,
        action="append",
        help="labels of an evaluation set: folder or file of the official evaluator; repeatable",
    )
    parser.add_argument("--out", type=user_path, required=True, help="output folder of the packed set")
    parser.add_argument("--name", help="name of the set (default: the folder name)")
    parser.add_argument("--sample-rate", type=positive, default=16_000, help="sample rate in Hz (default 16000)")
    parser.add_argument("--resample", action="store_true", help="resample recordings at other rates")
    parser.add_argument("--codec", choices=CODECS, default="pcm16", help="flac: 0.4-0.8 of the bytes, 20 times the CPU")
    parser.add_argument(
        "--channel",
        type=_channel,
        help="channel of multi-channel recordings: a number from 0, or average; 0,1: near and reference microphone",
    )
    parser.add_argument("--shard-mib", type=positive, default=256, help="largest tar, MiB (default 256)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the shuffle, and of the choice of test clips for mimii"
    )
    parser.add_argument("--workers", type=positive, help="threads, for flac processes (default: as many as help)")
    parser.add_argument(
        "--test-normals", type=count, help="mimii: normal test clips per ID (default: as many as abnormal ones)"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out files that cannot be read or have other channels"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a set at --out once the new one is complete")
    options = parser.parse_args(argv)
    options.out = real_path(options.out)
    return options


def _channel(text: str) -> Channel:
    try:
        return read_channel(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def find_corpus(options: argparse.Namespace) -> Corpus:
    """The clips of all sources, with the labels of evaluation sets where these are given."""
    corpus = find_clips(options.layout, options.source, Choices(options.test_normals, options.seed))
    return join_ground_truth(corpus, options.ground_truth) if options.ground_truth else corpus


def write_set(options: argparse.Namespace, found: Scan, target: Target) -> tuple[ManifestFile, list[PackedShard]]:
    """Everything into a folder beside --out, which becomes --out at the end."""
    needed = sum(tar_bytes(item, target) for item in found.clips)
    try:
        with staged(options.out, partial(check_taken, options.out, options.overwrite)) as folder:
            _check_space(folder, needed, target)
            max_bytes = options.shard_mib << 20
            jobs = plan_shards(found.clips, folder, target, max_bytes, options.seed, options.skip_bad)
            workers = options.workers or _workers_worth(needed, target)
            shards = _write_shards(jobs, workers, target)
            found.bad += [bad for shard in shards for bad in shard.bad]
            return _write_manifest(folder, options, found, target, shards), shards
    except OSError as error:
        if error.errno in FULL:
            raise _no_space(options.out, needed) from None
        raise


def _workers_worth(needed: int, target: Target) -> int:
    """A thread for every core; of processes one more for every second or so of work."""
    return available_cores() if target.codec == "pcm16" else min(available_cores(), 1 + needed // BYTES_PER_PROCESS)


def _check_space(folder: Path, needed: int, target: Target) -> None:
    if target.codec == "pcm16" and shutil.disk_usage(folder).free < needed:
        raise _no_space(folder.parent, needed)


def _no_space(place: Path, needed: int) -> UserError:
    return UserError(f"no space left for {place}: it needs {needed / 2**20:,.1f} MiB; free some, or change --out")


def _write_shards(jobs: Sequence[ShardJob], workers: int, target: Target) -> list[PackedShard]:
    """PCM is read, hashed and written outside the interpreter lock; a FLAC encoder calls back into Python."""
    run = run_jobs_in_threads if target.codec == "pcm16" else run_jobs
    with clip_bar("packing", sum(len(job.clips) for job in jobs)) as bar:
        return run(write_shard, jobs, workers, bar)


def _write_manifest(
    folder: Path, options: argparse.Namespace, found: Scan, target: Target, shards: Sequence[PackedShard]
) -> ManifestFile:
    packed = [item.scanned for shard in shards for item in shard.clips]
    check_untrained(packed)  # again: clips may have been left out while decoding
    classes = class_table([item.clip.machine_class for item in packed])
    indices = {(c.machine_type, c.machine_id): index for index, c in enumerate(classes)}
    return write_manifest(
        folder,
        options.name or options.out.name,
        options.layout,
        target.sample_rate,
        classes,
        [shard.shard for shard in shards],
        _clips_table(shards, indices, target),
        _notes(found, shards, options.seed),
        _heard([item for shard in shards for item in shard.clips], target),
    )


def _heard(packed: Sequence[PackedClip], target: Target) -> Heard:
    headers, frames = [item.scanned.header for item in packed], [item.frames for item in packed]
    return Heard(
        channel=target.channel,
        channels=tuple(sorted({header.channels for header in headers})[:MAX_VALUES]),
        rates=tuple(sorted({header.rate for header in headers})[:MAX_VALUES]),
        clips_s=(min(frames) / target.sample_rate, max(frames) / target.sample_rate),
        cut=any(item.scanned.clip.recording for item in packed),
    )


def _clips_table(shards: Sequence[PackedShard], classes: dict[tuple[str, str], int], target: Target) -> pa.Table:
    packed = [item for shard in shards for item in shard.clips]
    clips = [item.scanned.clip for item in packed]
    columns = {
        "key": [clip.key for clip in clips],
        "shard": [number for number, shard in enumerate(shards) for _ in shard.clips],
        "offset": [item.offset for item in packed],
        "size": [item.size for item in packed],
        "payload_offset": [item.payload_offset for item in packed],
        "codec": [target.codec] * len(packed),
        "frames": [item.frames for item in packed],
        "channels": [target.channels] * len(packed),
        "class_index": [classes[clip.machine_class] for clip in clips],
        "machine_type": [clip.machine_type for clip in clips],
        "machine_id": [clip.machine_id for clip in clips],
        "domain": [clip.domain for clip in clips],
        "split": [clip.split for clip in clips],
        "label": [clip.label for clip in clips],
        "attributes": [clip.attributes for clip in clips],
        "file_name": [clip.file_name for clip in clips],
        "recording": [clip.recording for clip in clips],
    }
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in CLIPS_SCHEMA})


def _notes(found: Scan, shards: Sequence[PackedShard], seed: int) -> dict[str, int]:
    """What was counted on the way; zeros are left out."""
    done = Conversion()
    for shard in shards:
        done.add(shard.done)
    skipped = Counter(f"skipped_{bad.error.kind.replace('-', '_')}" for bad in found.bad)
    odd = {f"levels_{fault}": count for fault, count in done.faults.items()}
    counted = {name: count for name, count in vars(done).items() if name != "faults"}
    odd |= {f"{SOUNDLESS}{machine}": len(clips) for machine, clips in soundless(packed_levels(shards)).items()}
    counts = counted | odd | skipped | {"duplicates": len(found.duplicates), "duplicates_leaking": len(found.leaking)}
    return {"seed": seed} | found.notes | {name: count for name, count in counts.items() if count}


if __name__ == "__main__":
    run_main(main)
