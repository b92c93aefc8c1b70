"""Corpus layouts: one small function each, from folders to clip rows. No audio is opened here."""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL, LABEL_UNKNOWN, SPLITS
from asd.errors import UserError

MAX_KEY = 90  # a tar of the old format holds names of 100 characters, extension included
DCASE2020_NAME = re.compile(r"(?:(normal|anomaly)_)?id_(\d\d)_\d{8}\.wav")
DCASE2021_NAME = re.compile(r"section_\d\d_.*\.wav")
MIMII_ID = re.compile(r"id_(\d\d)")
MIMII_NAME = re.compile(r"\d{8}\.wav")
LABELS = {"normal": LABEL_NORMAL, "anomaly": LABEL_ANOMALY, None: LABEL_UNKNOWN}


@dataclass(frozen=True, slots=True)
class SourceClip:
    """One recording to pack, and what its place and name say of it."""

    path: Path
    key: str
    machine_type: str
    machine_id: str
    split: str
    label: int  # 0 normal, 1 anomaly, -1 unknown
    file_name: str
    domain: str = ""
    attributes: str = ""

    @property
    def machine_class(self) -> tuple[str, str]:
        return self.machine_type, self.machine_id


def dcase2020(sources: Sequence[Path]) -> list[SourceClip]:
    """`<any depth>/<type>/(train|test)/(normal|anomaly)_id_II_NNNNNNNN.wav`; evaluation tests carry no label.

    Machine type and split are the two nearest folders; label and ID come from the file name alone.
    """
    clips, misnamed, misplaced = [], [], []
    for path in wav_files(sources):
        split, machine_type = path.parent.name, path.parent.parent.name
        match = DCASE2020_NAME.fullmatch(path.name)
        if split not in SPLITS:
            misplaced.append(path)
        elif match is None or (split == "train" and match[1] is None):
            misnamed.append(path)
        else:
            key = make_key(machine_type, split, path.stem)
            clips.append(SourceClip(path, key, machine_type, match[2], split, LABELS[match[1]], path.name))
    _refuse_misplaced(misplaced, "<machine type>/train or <machine type>/test")
    _refuse_misnamed(misnamed, "(normal|anomaly)_id_II_NNNNNNNN.wav, in test also id_II_NNNNNNNN.wav")
    return clips


def mimii(sources: Sequence[Path], test_normals: int | None = None, seed: int = 0) -> list[SourceClip]:
    """`<type>/id_II/(normal|abnormal)/NNNNNNNN.wav`: all abnormal clips and some normal ones of each ID are the test.

    The normal test clips are drawn by seed: `test_normals` an ID, by default as many as there are abnormal ones, but
    one normal clip always stays for training. Raises UserError where `test_normals` leaves none.
    """
    found: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    misnamed, misplaced = [], []
    for path in wav_files(sources):
        condition, machine_id = path.parent.name, MIMII_ID.fullmatch(path.parent.parent.name)
        if condition not in ("normal", "abnormal") or machine_id is None:
            misplaced.append(path)
        elif MIMII_NAME.fullmatch(path.name) is None:
            misnamed.append(path)
        else:
            found[path.parent.parent.parent.name, machine_id[1], condition].append(path)
    _refuse_misplaced(misplaced, "<machine type>/id_II/normal or <machine type>/id_II/abnormal")
    _refuse_misnamed(misnamed, "NNNNNNNN.wav")
    units = sorted({(machine_type, machine_id) for machine_type, machine_id, _ in found})
    return [clip for unit in units for clip in _mimii_unit(found, unit, test_normals, seed)]


def _mimii_unit(
    found: dict[tuple[str, str, str], list[Path]], unit: tuple[str, str], test_normals: int | None, seed: int
) -> Iterator[SourceClip]:
    normals = sorted(found[*unit, "normal"], key=lambda path: path.name)
    abnormals = found[*unit, "abnormal"]
    count = min(len(abnormals), max(len(normals) - 1, 0)) if test_normals is None else test_normals
    if count >= len(normals) and test_normals is not None:
        raise UserError(
            f"--test-normals {count} leaves no training clip of {'/'.join(unit)}, which has {len(normals)} normal ones"
        )
    for path in abnormals:
        yield _mimii_clip(path, unit, "test", LABEL_ANOMALY)
    test = set(random.Random(f"{seed}/{unit[0]}/{unit[1]}").sample(range(len(normals)), count))
    for number, path in enumerate(normals):
        yield _mimii_clip(path, unit, "test" if number in test else "train", LABEL_NORMAL)


def _mimii_clip(path: Path, unit: tuple[str, str], split: str, label: int) -> SourceClip:
    """The key does not name the split, so that one clip given twice is seen whichever part it was drawn into."""
    key = make_key(unit[0], f"id_{unit[1]}", path.parent.name, path.stem)
    name = "/".join(path.parts[-3:])
    return SourceClip(path, key, unit[0], unit[1], split, label, name)


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


def _refuse_misplaced(paths: Sequence[Path], expected: str) -> None:
    if paths:
        raise UserError(f"{len(paths)} .wav files do not lie in {expected}, first: {paths[0]}")


def _refuse_misnamed(paths: Sequence[Path], expected: str) -> None:
    if not paths:
        return
    hint = ""
    if DCASE2021_NAME.fullmatch(paths[0].name):
        hint = "; this name is of DCASE 2021 or later: describe the clips in a csv and use --layout table"
    raise UserError(f"{len(paths)} .wav files are not named {expected}, first: {paths[0]}{hint}")


def make_key(*parts: str) -> str:
    """A webdataset key of [A-Za-z0-9_-]; where that loses characters, a hash of the parts keeps it unique."""
    raw = "-".join(parts)
    key = re.sub(r"[^A-Za-z0-9_-]", "_", raw)
    if key != raw or len(key) > MAX_KEY:
        key = f"{key[: MAX_KEY - 9]}-{hashlib.sha256(raw.encode(errors='surrogateescape')).hexdigest()[:8]}"
    return key


def refuse_repeated_keys(clips: Iterable[SourceClip]) -> None:
    """Raises UserError naming both files where two clips are one (a set that was given twice)."""
    seen: dict[str, Path] = {}
    for clip in clips:
        other = seen.setdefault(clip.key, clip.path)
        if other is not clip.path:
            raise UserError(f"two clips would have the key {clip.key}: {other} and {clip.path} (is a set given twice?)")
