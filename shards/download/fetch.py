"""One file of a record, whole and verified: continued where an earlier run ended."""

from __future__ import annotations

import re
import sys
from io import FileIO
from pathlib import Path

from asd.files.download import Progress
from shards.download.client import download
from shards.download.zenodo import RemoteFile


def part_path(archive: Path, file: RemoteFile) -> Path:
    """Where the beginning of the file is kept; another checksum is another file, which is never continued."""
    return archive.with_name(f"{archive.name}.{file.checksum.partition(':')[2][:8]}.part")


def bytes_here(archive: Path, file: RemoteFile) -> int:
    """How much of the file need not be fetched, for all that its sizes say."""
    here = [path.stat().st_size for path in (archive, part_path(archive, file)) if path.exists()]
    return max((size for size in here if size <= file.size), default=0)


def fetch(file: RemoteFile, archive: Path, progress: Progress) -> None:
    """Make `archive` the verified file. Raises UserError after too many failures, or where it is corrupt twice."""

    def verify(opened: FileIO) -> str | None:
        found = file.digest_of(opened)
        return None if found == file.checksum else f"is corrupt (expected {file.checksum}, found {found})"

    archive.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(archive, file)
    for other in archive.parent.iterdir():
        if re.fullmatch(rf"{re.escape(archive.name)}\.[0-9a-f]+\.part", other.name) and other != part:
            other.unlink()
            print(f"{archive.name} has changed on the server: restarting the download", file=sys.stderr)
    if archive.exists() and archive.stat().st_size == file.size:
        archive.rename(part)  # kept by an earlier run: its checksum will tell
    archive.unlink(missing_ok=True)
    try:
        with part.open("a+b", buffering=0) as out:
            download(file.url, out, file.size, verify, progress)
    finally:
        if not part.stat().st_size:
            part.unlink()
    part.rename(archive)
