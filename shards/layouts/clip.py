"""What every layout makes of a corpus: clip rows with a key each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL, LABEL_UNKNOWN
from asd.errors import UserError

MAX_KEY = 90  # a tar of the old format holds names of 100 characters, extension included
LABELS = {"normal": LABEL_NORMAL, "anomaly": LABEL_ANOMALY, None: LABEL_UNKNOWN}  # as file names say it
MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class SourceClip:
    """One recording to pack, and what its place and name say of it."""

    path: Path
    key: str
    machine_type: str
    machine_id: str  # from DCASE 2021: the section
    split: str
    label: int  # 0 normal, 1 anomaly, -1 unknown
    file_name: str
    domain: str = ""
    attributes: str = ""
    recording: str = ""  # that it was cut from; empty: it is one of its own

    @property
    def is_known_fault(self) -> bool:
        return self.split == "train" and self.label == LABEL_ANOMALY

    @property
    def machine_class(self) -> tuple[str, str]:
        return self.machine_type, self.machine_id


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person may choose about a layout that leaves something open (mimii: which normal clips are the test)."""

    test_normals: int | None = None
    seed: int = 0


@dataclass
class Corpus:
    """The clips of all sources, and what a person should know about how they were found."""

    clips: list[SourceClip] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)  # a line a source: how many recordings, what was skipped
    left_out: list[Path] = field(default_factory=list)  # recordings that the layout knows and does not take
    remarks: list[str] = field(default_factory=list)  # lines for the scan report
    notes: dict[str, int] = field(default_factory=dict)  # counts for the manifest


def make_key(*parts: str) -> str:
    """A webdataset key of [A-Za-z0-9_-]; where that loses characters, a hash of the parts keeps it unique."""
    raw = "-".join(parts)
    key = re.sub(r"[^A-Za-z0-9_-]", "_", raw)
    if key != raw or len(key) > MAX_KEY:
        key = f"{key[: MAX_KEY - 9]}-{hashlib.sha256(raw.encode(errors='surrogateescape')).hexdigest()[:8]}"
    return key


def check_repeated_keys(clips: Iterable[SourceClip]) -> None:
    """Raises UserError naming both files where two clips are one (a set that was given twice)."""
    seen: dict[str, Path] = {}
    for clip in clips:
        other = seen.setdefault(clip.key, clip.path)
        if other is not clip.path:
            raise UserError(f"two clips would have the key {clip.key}: {other} and {clip.path} (is a set given twice?)")


def first_few(names: Iterable[str]) -> str:
    """`a, b, c and 12 more`"""
    listed = list(names)
    more = len(listed) - MAX_NAMED
    return ", ".join(listed[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
