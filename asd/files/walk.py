"""Every file below a folder, in an order that no disk decides; what is skipped is named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from asd.errors import UserError

# Of other systems, in lower case: thumbnails, indices, the other half of a Mac's zip, what was deleted or repaired.
SIDECARS = {
    *("thumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"),
    "system volume information",
}
HIDDEN, SIDECAR, AGAIN = "hidden", "of an operating system", "links to folders that are listed already"
MAX_ENDINGS = 4

Identity = tuple[int, int]


@dataclass
class Walk:
    """The files of a folder, and what was skipped: why → which."""

    files: list[Path] = field(default_factory=list)  # also links that lead nowhere, pipes, sockets, devices
    passed: dict[str, list[Path]] = field(default_factory=dict)

    def pass_over(self, why: str, path: Path) -> None:
        self.passed.setdefault(why, []).append(path)

    def passed_in_words(self) -> str:
        """`2 hidden (first /x/._a.wav), 3 that are no recordings (.csv 2, .txt 1; first /x/a.csv)`; empty: nothing."""
        return ", ".join(
            f"{len(paths)} {why} ({_endings(paths)}first {paths[0]})" for why, paths in self.passed.items()
        )

    def add(self, other: Walk) -> None:
        self.files += other.files
        for why, paths in other.passed.items():
            self.passed[why] = self.passed.get(why, []) + paths


def walk(root: Path) -> Walk:
    """The files below `root`, sorted; links are followed, and no folder is entered twice.

    A folder that can be reached by its own path and by a link is listed by its own path: folders behind links wait
    until all others have been seen. Raises UserError, naming it, where a folder cannot be listed.
    """
    found, seen = Walk(), set[Identity]()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        if _is_new(folder, seen):
            _list(folder, found, folders, links)
            links.sort()
        else:
            found.pass_over(AGAIN, folder)
    found.files.sort()
    found.passed = {why: sorted(paths) for why, paths in sorted(found.passed.items())}
    return found


def _is_new(folder: Path, seen: set[Identity]) -> bool:
    status = folder.stat()
    identity = status.st_dev, status.st_ino
    known = identity in seen
    seen.add(identity)
    return not known


def _list(folder: Path, found: Walk, folders: list[Path], links: list[Path]) -> None:
    """Sort the entries of one folder into files, folders and links to folders."""
    try:
        with os.scandir(folder) as scan:
            for entry in scan:
                path = Path(entry.path)
                if entry.name.lower() in SIDECARS:
                    found.pass_over(SIDECAR, path)
                elif entry.name.startswith("."):
                    found.pass_over(HIDDEN, path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    (links if entry.is_symlink() and path.is_dir() else found.files).append(path)
    except OSError as error:
        raise UserError(
            f"the folder {folder} cannot be listed ({error.strerror}): make it readable, or move it elsewhere"
        ) from None


def _endings(paths: Iterable[Path]) -> str:
    """`.csv 2, .txt 1; `"""
    counts = Counter(path.suffix.lower() for path in paths if path.suffix).most_common(MAX_ENDINGS)
    return ", ".join(f"{ending} {count}" for ending, count in counts) + "; " if counts else ""
