"""The recordings in files and folders: one listing for packing, cutting and scoring."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from asd.errors import UserError
from asd.files.walk import Walk, walk

# fmt: off
READABLE = frozenset((  # by libsndfile
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc",
    ".caf", ".au", ".snd", ".sph", ".nist", ".voc", ".avr", ".sf", ".svx", ".8svx", ".iff", ".paf", ".fap", ".pvf",
    ".htk", ".sds", ".sd2", ".wve", ".xi",
))
FOREIGN = frozenset((  # sound that it does not decode
    ".m4a", ".m4b", ".aac", ".ac3", ".wma", ".amr", ".3gp", ".mka", ".ape", ".wv", ".tta", ".alac", ".raw", ".pcm",
))
# fmt: on
NO_RECORDINGS, NOWHERE = "that are no recordings", "links that lead nowhere"


def is_recording(path: Path) -> bool:
    """By the ending, in any case: also what cannot be decoded here, which is then said of each."""
    return path.suffix.lower() in READABLE or is_foreign(path)


def is_foreign(path: Path) -> bool:
    return path.suffix.lower() in FOREIGN


def list_recordings(folder: Path) -> Walk:
    """All recordings below a folder; other files are among what is skipped.

    What has a recording's name and is none (a pipe, a link that leads nowhere) is listed: to open it says what it is.
    """
    found = walk(folder)
    files, found.files = found.files, []
    for path in files:
        if is_recording(path):
            found.files.append(path)
        else:
            found.pass_over(NO_RECORDINGS if path.exists() else NOWHERE, path)
    return found


def find_recordings(places: Sequence[Path]) -> Walk:
    """The files named, and all recordings in the folders named, in the order of the places, each once.

    Raises UserError where a place is missing, or a folder holds no recording.
    """
    together = Walk()
    for place in places:
        if not place.is_dir():
            if not place.exists():
                raise UserError(f"there is no file or folder {place}")
            together.files.append(place)
            continue
        found = list_recordings(place)
        if not found.files:
            raise UserError(f"{place} contains no recordings (.wav, .flac and other formats of libsndfile)")
        together.add(found)
    together.files = list(dict.fromkeys(together.files))
    return together


def on_disk(path: Path) -> Path | None:
    """The file of that name, also where the disk writes accents in the other of Unicode's two ways, as Macs do."""
    if os.path.lexists(path):
        return path
    same = [other for other in _beside(path) if normalize("NFC", other.name) == normalize("NFC", path.name)]
    return same[0] if len(same) == 1 else None


def names_alike(path: Path) -> list[str]:
    """Names in the same folder that differ from this one in case or accents alone."""
    return [other.name for other in _beside(path) if _folded(other.name) == _folded(path.name)]


def _beside(path: Path) -> list[Path]:
    folder = on_disk(path.parent) if path.parent != path else None
    return sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold()
