"""A verified file of a record → what it holds, in the folder of its part: each entry appears whole or not at all.

Beside the entries lies a hidden note, `.<file>.json`, of what came from which version of the file: it is how a later
call knows that nothing is to be done, and which entries it may replace.
"""

from __future__ import annotations

import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from asd.errors import UserError
from shards.download.zenodo import RemoteFile

STAGING = ".partial-"
Begin = Callable[[int], Callable[[int], None]]  # total bytes → called with those that are unpacked


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    checksum: str
    entries: tuple[str, ...]


def is_unpacked(file: RemoteFile, folder: Path) -> bool:
    """Whether all entries of this version of the file lie in the folder."""
    note = _read_note(file, folder)
    return (
        note is not None and note.checksum == file.checksum and all((folder / name).exists() for name in note.entries)
    )


def unpack(archive: Path, file: RemoteFile, folder: Path, begin: Begin) -> None:
    """Put what the archive holds into the folder; a file that is no zip is put there itself.

    Raises UserError, and leaves the folder as it was, for members that point out of it, links, more bytes than the
    disk has, an unreadable zip, or an entry that is there and is not the archive's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f"{STAGING}{secrets.token_hex(4)}"
    try:
        (staging / "old").mkdir(parents=True)
        (staging / "new").mkdir()
        if file.is_zip:
            _extract(archive, staging / "new", begin)
        else:
            shutil.copy(archive, staging / "new" / file.key)
        _publish(file, staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def remove_stale(folder: Path) -> None:
    """Remove what a killed run was unpacking. Only for who holds the lock of the download."""
    for staging in folder.glob(f"{STAGING}*"):
        shutil.rmtree(staging, ignore_errors=True)


def _extract(archive: Path, into: Path, begin: Begin) -> None:
    try:
        with zipfile.ZipFile(archive) as source:
            named = [info for info in source.infolist() if PurePosixPath(info.filename).parts]  # not "./"
            members = [info for info in named if not _is_left_by_a_mac(info)]
            _check_unsafe(archive, members)
            total = sum(info.file_size for info in members)
            _check_oversized(archive, total, into)
            done, unpacked = begin(total), 0
            for info in members:
                source.extract(info, into)  # writes no more than file_size, and checks the CRC
                unpacked += info.file_size
                done(unpacked)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError: encrypted. The bytes are those of the record: fetching again would not help.
        raise UserError(f"{archive} cannot be unpacked: {error}; look at its record on Zenodo") from None


def _is_left_by_a_mac(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    return parts[:1] == ("__MACOSX",) or parts[-1:] == (".DS_Store",)


def _check_unsafe(archive: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for info in members:
        reason = _why_unsafe(info) or ("comes twice" if info.filename in seen else None)
        if reason:
            raise UserError(f"{archive} is not unpacked: its member {info.filename!r} {reason}")
        seen.add(info.filename)
    if not seen:
        raise UserError(f"{archive} is not unpacked: it is empty")


def _why_unsafe(info: zipfile.ZipInfo) -> str | None:
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename or ":" in info.filename:
        return "points out of the folder"
    if name.parts[0].startswith("."):
        return "has a hidden name"  # as this command's own notes have
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0: made where files have no modes
    return None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "is a link or a special file"


def _check_oversized(archive: Path, total: int, into: Path) -> None:
    free = shutil.disk_usage(into).free
    if total > free:
        raise UserError(
            f"{archive} is not unpacked: that takes {total / 2**30:.2f} GiB and {free / 2**30:.2f} GiB are free; "
            "free some space, then run the same command again"
        )


def _publish(file: RemoteFile, staging: Path, folder: Path) -> None:
    """Move the new entries in. A kill between any two steps leaves entries that are whole, and that the note owns."""
    note = _read_note(file, folder)
    entries = tuple(sorted(path.name for path in (staging / "new").iterdir()))
    owned = set(note.entries) if note else set()
    for name in entries:
        if (folder / name).exists() and name not in owned:
            raise UserError(f"{folder / name} exists and does not come from {file.key}: move it away, or change --out")
    for name in owned:
        if (folder / name).exists():
            (folder / name).rename(staging / "old" / name)
    _write_note(_Note(checksum=file.checksum, entries=entries), file, staging, folder)
    for name in entries:
        (staging / "new" / name).rename(folder / name)


def _note_path(file: RemoteFile, folder: Path) -> Path:
    return folder / f".{file.key}.json"


def _read_note(file: RemoteFile, folder: Path) -> _Note | None:
    path = _note_path(file, folder)
    return _Note.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def _write_note(note: _Note, file: RemoteFile, staging: Path, folder: Path) -> None:
    written = staging / "note"
    written.write_text(note.model_dump_json() + "\n", encoding="utf-8")
    written.rename(_note_path(file, folder))
