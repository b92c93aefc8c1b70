"""A detector file in other formats, such as after a calibration: what `eval.py export --detector` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.commands.clips_of_detector import clips_of_normals, clips_of_recordings
from asd.commands.hearing import channel_of
from asd.commands.other_formats import Others, check_others, write_others
from asd.detector import DetectorFile, read_detector
from asd.detector.card import card, card_path
from asd.detector.formats.base import Clips
from asd.detector.recordings import is_table, of_one_machine, of_table
from asd.errors import UserError
from asd.files.atomic import write_whole


@dataclass(frozen=True)
class CheckOn:
    """Recordings that the written file is checked on, and their machine unless a table names it; none: the normal ones
    that the detector keeps."""

    recordings: Sequence[Path]
    machine: str | None
    id: str | None


def export_detector(source: Path, scorers: Sequence[str], check_on: CheckOn, others: Others) -> None:
    """scorers: their names; none: all."""
    whole = read_detector(source)
    file = whole.model_copy(update={"scorers": tuple(map(whole.scorer, dict.fromkeys(scorers))) or whole.scorers})
    if not others:
        raise UserError("--detector: name what shall be written of it, such as --onnx detector.onnx")
    card_at = card_path(source)
    check_others(others, source, [scorer.config for scorer in file.scorers], file.weights)
    lines = write_others(others, file, source, _clips(file, source, check_on))
    print("\n".join(lines))
    write_whole(card_at, card(whole, source, lines))
    print(f"{card_at}: its card, which tells of them")


def _clips(file: DetectorFile, source: Path, check_on: CheckOn) -> Clips:
    words = (check_on.machine, check_on.id)
    if not check_on.recordings:
        if words != (None, None):
            raise UserError(f"--{'id' if words[0] is None else 'machine'}: it is of the recordings of --check-on")
        return clips_of_normals(file, source)
    if is_table(check_on.recordings):
        asked = of_table(file, check_on.recordings[0], *words)
    else:
        asked, _ = of_one_machine(file, check_on.recordings, *words)
    return clips_of_recordings(file, asked, channel_of(None, file, source))
