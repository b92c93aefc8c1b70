"""A layout in which places and names of files say everything: find the files, read each, refuse what does not fit.

No audio is opened here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.errors import UserError
from shards.layouts.clip import Choices, Corpus, SourceClip

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NO_TEXT = "have names or places that are not UTF-8 text, or hold control characters"
DISAGREE = "lie in another folder than their names say"


class Misfit(str):
    """Why a file is not of a layout, as the end of a sentence: `are not named …`."""


class MisfitError(UserError):
    """Files whose names or places do not fit the layout."""

    def __init__(self, misfits: dict[Misfit, list[Path]]) -> None:
        why, paths = next(iter(misfits.items()))
        super().__init__(f"{len(paths)} .wav files {why}, first: {paths[0]}")
        self.paths = [path for same in misfits.values() for path in same]


@dataclass(frozen=True)
class FolderLayout:
    """read: what one file is (None: left out on purpose); arrange: what takes more than one file to say."""

    read: Callable[[Path], SourceClip | Misfit | None]
    arrange: Callable[[Corpus, Choices], Corpus] | None = None

    def fits(self, path: Path) -> bool:
        return not isinstance(self.read(path), Misfit)

    def __call__(self, sources: Sequence[Path], choices: Choices) -> Corpus:
        """The clips below the sources. Raises MisfitError where names or places do not fit."""
        corpus, misfits = Corpus(), dict[Misfit, list[Path]]()
        for path in wav_files(sources):
            found = self.read(path) if _is_text(path) else Misfit(NO_TEXT)
            if isinstance(found, Misfit):
                misfits.setdefault(found, []).append(path)
            elif found is None:
                corpus.left_out.append(path)
            else:
                corpus.clips.append(found)
        if misfits:
            raise MisfitError(misfits)
        return corpus if self.arrange is None else self.arrange(corpus, choices)


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return CONTROL.search(str(path)) is None


def wav_files(sources: Sequence[Path]) -> Iterator[Path]:
    """Every `.wav` below the sources, sorted, links followed; hidden files (`._x.wav` of a Mac) are passed over."""
    for source in sources:
        if not source.is_dir():
            raise UserError(f"--source {source} is not a folder")
        files = sorted(_walk(source.resolve()))
        if not files:
            raise UserError(f"--source {source} holds no .wav file")
        yield from files


def _walk(source: Path) -> Iterator[Path]:
    seen = set()
    for folder, names, files in os.walk(source, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link back up
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names[:] = [name for name in names if not name.startswith(".")]
        yield from (Path(folder, name) for name in files if name.lower().endswith(".wav") and name[0] != ".")
