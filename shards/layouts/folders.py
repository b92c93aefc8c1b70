"""A layout in which places and names of files say everything: find the files, read each, refuse what does not fit.

No audio is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.audio.listing import list_recordings
from asd.errors import UserError
from shards.layouts.clip import Choices, Corpus, SourceClip

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NO_TEXT = "have names or places that are not UTF-8 text, or hold control characters"
DISAGREE = "lie in another folder than their names say"


class Misfit(str):
    """Why a file is not of a layout, as the end of a sentence: `are not named …`; and what to do about it."""

    remedy: str

    def __new__(cls, why: str, remedy: str = "") -> Misfit:
        self = super().__new__(cls, why)
        self.remedy = remedy
        return self


OTHER_ENDING = Misfit(
    "do not end in .wav as all of this layout do",
    "rename those that are WAV, convert the others (ffmpeg -i IN OUT.wav), or move away what is not of the corpus",
)


class MisfitError(UserError):
    """Files whose names or places do not fit the layout."""

    def __init__(self, misfits: dict[Misfit, list[Path]]) -> None:
        why, paths = next(iter(misfits.items()))
        super().__init__("; ".join(filter(None, [f"{len(paths)} recordings {why}, first: {paths[0]}", why.remedy])))
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
        for source in sources:
            for path in _recordings(source, corpus):
                found = self._one(path)
                if isinstance(found, Misfit):
                    misfits.setdefault(found, []).append(path)
                elif found is None:
                    corpus.left_out.append(path)
                else:
                    corpus.clips.append(found)
        if misfits:
            raise MisfitError(misfits)
        return corpus if self.arrange is None else self.arrange(corpus, choices)

    def _one(self, path: Path) -> SourceClip | Misfit | None:
        if not _is_text(path):
            return Misfit(NO_TEXT)
        return self.read(path) if path.suffix == ".wav" else OTHER_ENDING


def _recordings(source: Path, corpus: Corpus) -> list[Path]:
    """What one source holds; what was skipped there is noted."""
    if not source.is_dir():
        raise UserError(f"--source {source} is not a folder")
    found = list_recordings(source.resolve())
    passed = found.passed_in_words()
    if not found.files:
        raise UserError(f"--source {source} holds no recording{passed and f'; skipped: {passed}'}")
    corpus.listed.append(f"{source}: {len(found.files)} recordings{passed and f'; skipped: {passed}'}")
    return found.files


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return CONTROL.search(str(path)) is None
