"""The recordings that a machine is calibrated by: which of them are one, and what the network hears in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from asd.audio.listing import find_recordings
from asd.audio.recording import Target
from asd.commands.hearing import channel_of, precision_of, progress_bar, say_inputs
from asd.detector import Detector, DetectorFile
from asd.detector.calibration import hear, join
from asd.detector.evidence import Learnt
from asd.detector.judge import make_cut
from asd.detector.normals import Normals, kept_columns
from asd.detector.recorded import Recorded
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.scorers import EmbeddingTable
from asd.scorers.embeddings import View

RecordingIs = Literal["file", "folder"]


@dataclass(frozen=True)
class Places:
    """The files of each kind. recording_is: each a recording of its own, or the files of one folder together one."""

    normal: Sequence[Path]
    alarms: Sequence[Path]
    missed: Sequence[Path]
    recording_is: RecordingIs

    @classmethod
    def of(
        cls, normal: Sequence[Path], alarms: Sequence[Path], missed: Sequence[Path], recording_is: RecordingIs
    ) -> Places:
        """From files and folders. UserError where one is missing, a copy or of two kinds, or a folder holds no
        recording."""
        files = [find_recordings(places).files if places else [] for places in (normal, alarms, missed)]
        _refuse_copies([path for of_kind in files for path in of_kind])
        return cls(files[0], files[1], files[2], recording_is)

    def recording_of(self, paths: Sequence[Path]) -> list[int]:
        """Which recording each file is of, numbered from 0."""
        names = [path if self.recording_is == "file" else path.resolve().parent for path in paths]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return [numbers[name] for name in names]


def _refuse_copies(paths: Sequence[Path]) -> None:
    """UserError where two files are the same; what is no file, or cannot be read, is said when it is heard."""
    first: dict[str, Path] = {}
    for path in paths:
        if not path.is_file() or not os.access(path, os.R_OK):
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if first.get(digest) == path:
            raise UserError(f"{path} is named twice, of normal recordings, false alarms and missed faults: choose one")
        if digest in first:
            raise UserError(f"{path} is a copy of {first[digest]}, and would count as another recording: leave it out")
        first[digest] = path


@dataclass(frozen=True)
class Heard:
    """All that is known of a machine: normal rows, those that banks are made of, faults that were missed.

    views: of the network. recorded: what is to be said of new normal recordings. is_one: all of it is one recording, of
    which windows are left out one by one.
    """

    rows: Normals
    core: Normals
    missed: Normals | None
    views: Mapping[str, View]
    recorded: Sequence[Recorded] = ()
    is_one: bool = False

    @property
    def recording(self) -> Tensor:
        """(n,) which recording each normal clip is of."""
        own = self.rows.table(0, {}).per_clip().recording
        return torch.zeros_like(own) if self.is_one else own

    def tables(self, own: int) -> tuple[EmbeddingTable, EmbeddingTable]:
        """What scorers are fitted to, missed faults beside it, and all rows; of class `own`."""
        core, rows = (part.table(own, self.views) for part in (self.core, self.rows))
        known = None if self.missed is None else self.missed.table(own, self.views)
        return replace(core, known_faults=known), rows

    def rates_and_lengths(self) -> tuple[list[int], list[float]]:
        """Hz and seconds of the new normal recordings."""
        found = [one.recording for one in self.recorded]
        return [one.header.rate for one in found], [one.seconds for one in found]

    def learnt(self) -> Learnt:
        """How much normal sound it is."""
        recordings = len(self.recording.unique())
        return Learnt(clips=len(self.rows.names), recordings=recordings, hours=sum(self.rows.seconds) / 3600)


def hear_all(
    file: DetectorFile,
    own: int,
    source: Path,
    places: Places,
    channel: str | None,
    former: Normals | None,
    count: int,
) -> Heard:
    """former: normal rows that stay and come first. count: of clips in the core set, at most, false alarms before all
    others."""
    target, cut = Target(file.sample_rate, channel_of(channel, file, source)), make_cut(file, None, 0.0)
    kept = kept_columns([scorer.config for scorer in file.scorers])
    normal = [*places.normal, *places.alarms]
    recording: list[int] | None = places.recording_of(normal)
    if former is None and len({*places.recording_of(normal)}) == 1:
        recording = None  # windows of a single one are left out one by one
    first = 0 if former is None else 1 + int(max(former.columns[n].max() for n in ("clip_index", "recording")))
    with start_ranks(precision_of(file), timeout_s=60) as ranks:
        detector = Detector.open(file, source, ranks, min(own, file.learnt_classes - 1)).for_class(own)
        with progress_bar(len(normal)) as progress:
            new = hear(detector, normal, recording, target, cut, first, kept, progress) if normal else None
        apart = range(len(places.missed))
        faults = hear(detector, places.missed, apart, target, cut, 0, kept) if places.missed else None
        about = (file.missed.get(own) if faults is None else faults[0], detector.task.views)
    said = [one for found in (new, faults) if found is not None for one in found[2]]
    say_inputs([(one.recording.path, one.state, one.remarks()) for one in said])
    if new is None:
        assert former is not None
        return Heard(former, former, *about)
    rows, file_of, recorded = new
    if former is not None:
        _refuse_known(former, rows, [normal[place] for place in file_of.tolist()], source)
    alarms = rows.columns["clip_index"][file_of >= len(places.normal)]
    return Heard(*join(former, rows, count, alarms), *about, recorded, is_one=recording is None)


def _refuse_known(former: Normals, rows: Normals, paths: Sequence[Path], source: Path) -> None:
    """UserError that names the recordings that are among the former ones; paths: the file of each clip of rows."""
    known = set(former.sounds())
    again = dict.fromkeys(path for path, sound in zip(paths, rows.sounds(), strict=True) if sound in known)
    if again:
        names = ", ".join(map(str, again))
        raise UserError(f"{source} keeps these already, and they would count as other recordings: leave out {names}")
