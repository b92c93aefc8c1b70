"""What is asked for: the files of the chosen parts and machines, where each is kept, and which are still missing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.errors import UserError
from shards.download.corpora import GROUND_TRUTH
from shards.download.fetch import bytes_here
from shards.download.unpack import is_unpacked
from shards.download.zenodo import Record, RemoteFile

ARCHIVES = "archives"


@dataclass(frozen=True, slots=True)
class Job:
    """One file to fetch into `archive` and to unpack into `folder`."""

    part: str
    file: RemoteFile
    out: Path

    @property
    def name(self) -> str:
        return f"{self.part}/{self.file.key}"

    @property
    def folder(self) -> Path:
        return self.out / self.part

    @property
    def archive(self) -> Path:
        return self.out / ARCHIVES / self.part / self.file.key

    @property
    def is_done(self) -> bool:
        return is_unpacked(self.file, self.folder)

    @property
    def bytes_here(self) -> int:
        return bytes_here(self.archive, self.file)


def choose(records: Mapping[str, Record], machines: Sequence[str], out: Path) -> list[Job]:
    """The files to have. Raises UserError for a machine that no file is about."""
    jobs = [Job(part, file, out) for part, record in records.items() for file in record.files]
    if not machines:
        return jobs
    recordings = [job for job in jobs if job.part != GROUND_TRUTH]  # ground truth is of all machines together
    for machine in machines:
        if not any(_is_about(job.file, machine) for job in recordings):
            found = ", ".join(sorted(job.name for job in recordings))
            raise UserError(f"--machine {machine}: no file is about it; there are {found}")
    return [job for job in jobs if job not in recordings or any(_is_about(job.file, m) for m in machines)]


def _is_about(file: RemoteFile, machine: str) -> bool:
    """Whether a word of the name is the machine type: dev_data_fan.zip, eval_data_3DPrinter_train_r2.zip."""
    return machine.casefold() in re.split(r"[_.\-]", file.key.casefold())


def check_full_disk(jobs: Sequence[Job], out: Path) -> None:
    """Raises UserError where not even what is to be fetched has room; unpacked it takes no less."""
    missing = sum(job.file.size - job.bytes_here for job in jobs)
    free = shutil.disk_usage(out).free
    if missing > free:
        raise UserError(
            f"not enough space in {out}: {gib(missing)} have to be downloaded and {gib(free)} are free; free some "
            "space, change --out, or take less (--part, --machine)"
        )


def gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
