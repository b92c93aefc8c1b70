"""Own recordings through a table: a csv with one line per clip. Its columns stand in docs/data.md."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pydantic

from asd.audio.listing import is_recording, names_alike, on_disk
from asd.data.manifest import DOMAINS, LABEL_UNKNOWN, LABELS, SPLITS, MachineClass
from asd.errors import UserError
from asd.files.csv_table import Row, one_of, path_in, read_table
from asd.files.paths import real_path
from shards.layouts.clip import MAX_KEY, Choices, Corpus, SourceClip, first_few, make_key

REQUIRED = ("path", "machine_type", "machine_id", "split", "label")
HASH_DIGITS = 12
OPTIONAL = ("domain", "attributes", "recording")


def read_tables(sources: Sequence[Path], choices: Choices) -> Corpus:
    """The clips of csv files; paths in them are relative to the csv. Raises UserError with file and line."""
    clips: dict[Path, SourceClip] = {}  # by resolved path
    lines: dict[Path, str] = {}
    for source in sources:
        if not source.is_file():
            raise UserError(f"--source {source} is not a file: the layout table takes a csv")
        before = len(clips)
        for where, row in read_table(source, REQUIRED, OPTIONAL):
            clip = _clip(source, where, row)
            path = real_path(clip.path)
            if path in clips:
                raise UserError(f"{where}: {clip.path} is listed twice, first in {lines[path]}")
            clips[path], lines[path] = clip, where
        if len(clips) == before:
            raise UserError(f"{source} lists no clip")
    root = os.path.commonpath([path.parent for path in clips]) if clips else ""
    corpus = Corpus([replace(clip, key=_key(clip, path.relative_to(root))) for path, clip in clips.items()])
    corpus.listed.append(f"{first_few(map(str, sources))}: {len(clips)} recordings{_beside(clips)}")
    return _say_shared(corpus)


def _beside(clips: Mapping[Path, SourceClip]) -> str:
    """Recordings in the folders of those that are listed which no table lists: meant, or forgotten."""
    found = []
    for folder in sorted({path.parent for path in clips}):
        with suppress(OSError):  # whose files can be opened need not let itself be listed
            names = os.scandir(folder)
            found += [path for entry in names if (path := Path(entry.path)) not in clips and _is_forgotten(entry, path)]
    return f"; {len(found)} in the same folders are not listed, first: {min(found)}" if found else ""


def _is_forgotten(entry: os.DirEntry[str], path: Path) -> bool:
    return is_recording(path) and not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)


def _say_shared(corpus: Corpus) -> Corpus:
    """Name the recordings that a machine both trains on and is tested by: scores of such a test say little; of a known
    fault they would say nothing, which is refused."""
    faulty = {_recorded(clip) for clip in corpus.clips if clip.is_known_fault and clip.recording}
    trained, tested = (
        {_recorded(clip) for clip in corpus.clips if clip.split == split and clip.recording} for split in SPLITS
    )
    if told := sorted(faulty & tested):
        names = first_few(f"{recording} of {'/'.join(machine)}" for machine, recording in told)
        raise UserError(
            f"{len(told)} recordings have known faults in training and clips in test: {names}; the test must not hold "
            "what training was told: move all clips of such a recording to one side"
        )
    if shared := sorted(trained & tested):
        names = first_few(f"{recording} of {'/'.join(machine)}" for machine, recording in shared)
        corpus.remarks.append(
            f"warning: {len(shared)} recordings have clips in both training and test, which makes the test too easy: "
            f"{names}"
        )
        corpus.notes["recordings_in_training_and_test"] = len(shared)
    return corpus


def _recorded(clip: SourceClip) -> tuple[tuple[str, str], str]:
    return clip.machine_class, clip.recording


def _key(clip: SourceClip, place: Path) -> str:
    """Readable, and another for every file, by a hash of its place below the folder that holds all.

    Recordings that move together keep their keys.
    """
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:HASH_DIGITS]
    name = make_key(clip.machine_type, clip.split, clip.machine_id, Path(clip.file_name).stem)
    return f"{name[: MAX_KEY - 1 - HASH_DIGITS]}-{digest}"


def _clip(source: Path, where: str, row: Row) -> SourceClip:
    """A line's clip, which has no key yet."""
    path = _present(path_in(source, _filled(row, "path", where), where), where)
    machine_type, machine_id = (_name(row, name, where) for name in ("machine_type", "machine_id"))
    split = one_of(row, "split", SPLITS, where)
    label = LABELS[one_of(row, "label", tuple(LABELS), where)]
    if split == "train" and label == LABEL_UNKNOWN:
        raise UserError(
            f"{where}: a training clip is normal, or a known fault (anomaly), the label is {row['label']!r}: "
            "put it into test"
        )
    domain = one_of(row, "domain", DOMAINS, where) if "domain" in row else ""
    attributes, recording = row.get("attributes", ""), row.get("recording", "")
    return SourceClip(path, "", machine_type, machine_id, split, label, row["path"], domain, attributes, recording)


def _present(path: Path, where: str) -> Path:
    """Raises UserError where there is no file of that name, with the names that are alike."""
    found = on_disk(path)
    if found is None:
        like = names_alike(path)
        hint = f"; {' and '.join(like)} is there: names are case-sensitive" if like else ""
        raise UserError(f"{where}: there is no file {path}{hint}")
    return found


def _filled(row: Row, name: str, where: str) -> str:
    if not row[name]:
        raise UserError(f"{where}: {name} is empty")
    return row[name]


def _name(row: Row, name: str, where: str) -> str:
    """What folders and files will be called after."""
    found = _filled(row, name, where)
    try:
        MachineClass(machine_type=found, machine_id=found)
    except pydantic.ValidationError:
        raise UserError(
            f"{where}: {name} is {found!r}: no slash of either kind, no dot at its beginning, nothing unprintable"
        ) from None
    return found
