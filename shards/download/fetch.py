"""One file of a record, whole and verified: continued where an earlier try ended, fetched again where it is corrupt."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import httpx2

from asd.errors import UserError
from asd.files import http
from shards.download.client import AGAIN, Patience
from shards.download.zenodo import RemoteFile

Done = Callable[[int], None]  # called with the bytes of the file that are here


def part_path(archive: Path, file: RemoteFile) -> Path:
    """Where the beginning of the file is kept; another checksum is another file, which is never continued."""
    return archive.with_name(f"{archive.name}.{file.checksum.partition(':')[2][:8]}.part")


def bytes_here(archive: Path, file: RemoteFile) -> int:
    """How much of the file need not be fetched, for all that its sizes say."""
    here = [_size(path) for path in (archive, part_path(archive, file))]
    return max(size if size <= file.size else 0 for size in here)


def fetch(client: httpx2.Client, file: RemoteFile, archive: Path, done: Done) -> None:
    """Make `archive` the verified file. Raises UserError after too many failures, or where it is corrupt twice."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(archive, file)
    _remove_other_parts(archive, part)
    if _size(archive) == file.size and archive.is_file() and file.matches(archive):
        done(file.size)
        return
    archive.unlink(missing_ok=True)
    for again in ("fetching it again", "gave up"):
        _download(client, file, part, done)
        found = file.digest_of(part)
        if found == file.checksum:
            part.rename(archive)
            return
        part.unlink()
        print(f"{file.key} is corrupt ({found}, not {file.checksum}): {again}", file=sys.stderr)
    raise UserError(
        f"{file.key} from {file.url} came corrupt twice: expected {file.checksum}, found {found}; "
        "it was removed: run the same command again later"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _remove_other_parts(archive: Path, part: Path) -> None:
    for other in archive.parent.iterdir():
        if re.fullmatch(rf"{re.escape(archive.name)}\.[0-9a-f]+\.part", other.name) and other != part:
            other.unlink()
            print(f"{archive.name} has changed on the server: it is fetched from the beginning", file=sys.stderr)


def _download(client: httpx2.Client, file: RemoteFile, part: Path, done: Done) -> None:
    """All bytes into `part`. Only more than was ever there counts as progress, so that it ends."""
    patience, most = Patience(file.url), _size(part)
    part.touch()
    while (here := _size(part)) != file.size:
        if here > file.size:
            part.unlink()
            here = 0
        try:
            _continue(client, file, part, here, done)
        except httpx2.HTTPError as error:
            if most < _size(part) <= file.size:
                most = _size(part)
                patience.progressed()
            patience.failed(error)
    done(file.size)


def _continue(client: httpx2.Client, file: RemoteFile, part: Path, here: int, done: Done) -> None:
    """One request for what is missing. Raises httpx2.HTTPError where it ends before the file does."""
    headers = {"Range": f"bytes={here}-"} if here else {}
    with client.stream("GET", file.url, headers=headers) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise httpx2.RemoteProtocolError(f"there is nothing after byte {here}")
        response.raise_for_status()
        start = _start(response, file)
        if start not in (0, here):
            part.unlink()
            raise httpx2.RemoteProtocolError(f"bytes from {start} came instead of those from {here}")
        with part.open("ab" if start else "wb") as out:  # the whole, asked or not, replaces what is here
            for chunk in response.iter_raw():
                out.write(chunk)
                done(out.tell())
                if out.tell() > file.size:
                    raise httpx2.RemoteProtocolError(f"more than {file.size} bytes came")
            end = out.tell()
    if end < file.size:
        raise httpx2.RemoteProtocolError(f"the connection ended after {end} of {file.size} bytes")


def _start(response: httpx2.Response, file: RemoteFile) -> int:
    """Where the answer begins in the file. Raises UserError where the server has a file of another size."""
    start, total = http.first_byte_and_size(response)
    if total not in (None, file.size):
        raise UserError(f"{file.url} has {total} bytes, but its record says {file.size}: it may be changing; {AGAIN}")
    return start
