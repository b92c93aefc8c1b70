"""Files that are damaged: tars, checkpoints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from asd.data.manifest import load_manifest
from asd.run_folder.checkpoint import step_path
from asd.run_folder.paths import RunFolder
from benchmarks.soak.job import ROOT, RoundError
from benchmarks.soak.place import complete, records
from benchmarks.soak.round import Round

TAR = "train-000001.tar"
NO_BAD_CLIP = "train.max_bad_fraction=0"


def clip_flipped(round: Round) -> None:
    """Bytes of a PCM clip are flipped"""
    round.train_on(round.place.pcm, copied=True)
    _train_on_a_flipped_clip(round)
    _verify_finds_it(round)


def flac_clip_flipped(round: Round) -> None:
    """Bytes of a FLAC clip are flipped"""
    round.train_on(round.place.flac, copied=True)
    _train_on_a_flipped_clip(round, "(UNREADABLE CLIPS 1)")
    if [record["bad_clips"] for record in records(round.run) if "bad_clips" in record][-1] != 1:
        raise RoundError("not one clip is counted as unreadable")
    _verify_finds_it(round)


def _train_on_a_flipped_clip(round: Round, says: str = "") -> None:
    """Losses can be compared up to that moment."""
    job = round.start()
    round.moment(job, last=20)
    round.equal_until = job.step
    round.strike(lambda: _flip_clip(Path(round.shards)))
    round.finishes(job, says)


def _flip_clip(shards: Path) -> None:
    """A hundred bytes in the middle of the samples of a training clip."""
    manifest = load_manifest(shards)
    clip = int(manifest.select("train")[0])
    shard, offset, size = (int(manifest.column(name)[clip]) for name in ("shard", "offset", "size"))
    _flip(shards / manifest.file.shards[shard].file, offset + size // 2, 100)


def _flip(path: Path, offset: int, count: int) -> None:
    with path.open("r+b", buffering=0) as file:
        found = os.pread(file.fileno(), count, offset)
        os.pwrite(file.fileno(), bytes(byte ^ 0x55 for byte in found), offset)


def _verify_finds_it(round: Round) -> None:
    command = [sys.executable, "-m", "shards.verify", str(round.shards)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    line = next((line for line in done.stdout.splitlines() if "sha256 differs" in line), None)
    if done.returncode != 2 or line is None:
        raise RoundError(f"shards.verify finds nothing ({done.returncode}): {done.stdout} {done.stderr}")
    round.said += (" – " if round.said else "while training nothing; `shards.verify`: ") + line


def tar_truncated(round: Round) -> None:
    """A tar is cut in half (no bad clip allowed); it is copied again; the same command again"""
    round.train_on(round.place.pcm, copied=True)
    job = round.start(NO_BAD_CLIP, MAX_RESTARTS="0")
    round.moment(job, last=20)
    tar = Path(round.shards) / TAR
    round.strike(lambda: os.truncate(tar, tar.stat().st_size // 2))
    round.ends(job, 1, "training clips could not be read")
    shutil.copy(round.packed.shards / TAR, tar)
    round.finishes(round.start(NO_BAD_CLIP))


def tar_missing(round: Round) -> None:
    """A tar is gone when a run is to go on; it is copied again; the same command again"""
    round.train_on(round.place.pcm, copied=True)
    job = round.start()
    round.moment(job)
    round.strike(job.kill)
    (Path(round.shards) / TAR).unlink()
    round.ends(round.start(), 2, f"error: .*{re.escape(TAR)} is missing")
    shutil.copy(round.packed.shards / TAR, round.shards)
    round.finishes(round.start())


def optimizer_truncated(round: Round) -> None:
    """The newest checkpoint's optimizer.pt is cut in half; the same command again"""
    newest = _newest_of_a_killed_run(round)
    path = newest / "optimizer.pt"
    os.truncate(path, path.stat().st_size // 2)
    round.finishes(round.start(), "is not complete: skipped")


def weights_flipped(round: Round) -> None:
    """A byte of the newest checkpoint's weights is flipped; the same command again"""
    newest = _newest_of_a_killed_run(round)
    path = newest / "model.safetensors"
    _flip(path, path.stat().st_size // 2, 1)
    round.finishes(round.start(), "moved to damaged_…, falling back to the one before")


def _newest_of_a_killed_run(round: Round) -> Path:
    job = round.start()
    round.moment(job, first=12)
    round.strike(job.kill)
    return step_path(RunFolder(round.run).checkpoints, complete(round.run)[-1])


FAULTS = (clip_flipped, flac_clip_flipped, tar_truncated, tar_missing, optimizer_truncated, weights_flipped)
