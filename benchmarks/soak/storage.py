"""Disks that fill up, reads that take long."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.soak.round import Round, SkippedError

DISK = "64m"
SLOW = Path(__file__).with_name("slow")
SLOW_S = 5.0


def disk_full(round: Round) -> None:
    """The disk of the run folder is full; room is made; the same command again"""
    with _small_disk(round) as disk:
        job = round.start(MAX_RESTARTS="1")
        round.moment(job)
        ballast = disk / "ballast"
        round.strike(lambda: _fill(ballast))
        round.ends(job, 1, "No space left on device|cannot write, 0 MiB free")
        ballast.unlink()
        round.finishes(round.start())


@contextmanager
def _small_disk(round: Round) -> Iterator[Path]:
    """The run folder on a file system of its own; what is in it stays."""
    disk, kept = round.folder / "disk", round.run
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise SkippedError("a file system of its own may not be mounted here")
    round.run = disk / "run"
    try:
        yield disk
    finally:
        round.close()
        if round.run.is_dir():
            shutil.copytree(round.run, kept)
        round.run = kept
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def slow_reads(round: Round) -> None:
    """Every read of a tar takes 0.1 s, for 5 s"""
    switch = round.folder / "slow"
    job = round.start(
        PYTHONPATH=os.pathsep.join([str(SLOW), os.environ.get("PYTHONPATH", "")]), ASD_SOAK_SLOW=str(switch)
    )
    round.moment(job, last=20)
    round.strike(switch.touch)
    time.sleep(SLOW_S)
    switch.unlink()
    round.finishes(job)


FAULTS = (disk_full, slow_reads)
