"""`eval.py calibrate`: teach a detector a machine anew, or a new machine, by normal recordings and without training."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asd.audio.listing import is_recording
from asd.commands.budget import Budget
from asd.commands.hearing import AUTO
from asd.commands.normal_sound import Heard, Places, RecordingIs, hear_all
from asd.commands.taught import check_known_faults, taught
from asd.data.manifest import MachineClass
from asd.detector import DetectorFile, Software, read_detector, write_detector
from asd.detector.calibration import check_scorers
from asd.detector.card import card, card_path
from asd.detector.file import FORMAT_VERSION, Calibration
from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.files.paths import check_over, check_writable
from asd.frontends.ignored import in_words
from asd.metrics.thresholds import AnyThreshold, GammaConfig
from asd.run_folder.provenance import provenance

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """The words of the command."""

    detector: Path
    recordings: Sequence[Path]
    out: Path
    machine: str | None
    id: str | None
    scorer: Sequence[str]
    keep: bool
    alarms: Sequence[Path]
    missed: Sequence[Path]
    ignore_bands: str | None
    normals: int
    recording: RecordingIs
    channel: str | None
    budget: Budget | None

    @property
    def keeps(self) -> bool:
        """Whether the former normal recordings of the machine stay."""
        return self.keep or bool(self.alarms)


def calibrate_command(options: Options) -> None:
    """Write a detector that differs from the given one in one machine, and its card."""
    file, own = _with_machine(read_detector(options.detector), options)
    rule = _rule(file, own, options)
    places = Places.of(options.recordings, options.alarms, options.missed, options.recording)
    card_at = _check(options, file, own, places)
    former = file.normals[own] if options.keeps else None
    heard = hear_all(file, own, options.detector, places, options.channel, former, options.normals)
    check_known_faults(file, own, heard)
    changed: dict[str, Any] = {
        "scorers": tuple(taught(scorer, file, own, heard, rule) for scorer in file.scorers),
        "normals": {**file.normals, own: heard.core},
        "missed": file.missed if heard.missed is None else {**file.missed, own: heard.missed},
        "heard": None if file.heard is None else file.heard.widened(*heard.rates_and_lengths()),
        "learnt": {**file.learnt, own: heard.learnt()},
        "threshold_rules": {**file.threshold_rules, own: rule},
        "calibrations": (*file.calibrations, _done(file.classes[own], places, heard, options)),
    }
    write_detector(options.out, file.model_copy(update=changed))
    written = read_detector(options.out)
    write_whole(card_at, card(written, options.out))
    _say(written, own, options.out, card_at)


def _with_machine(file: DetectorFile, options: Options) -> tuple[DetectorFile, int]:
    """The file with the scorers that are wanted, the machine among its classes and its ignored bands; the class."""
    scorers = tuple(file.scorer(label) for label in dict.fromkeys(options.scorer)) or file.scorers
    file = file.model_copy(update={"scorers": scorers, "format": FORMAT_VERSION})
    if options.machine is None or options.id is None:
        raise UserError("name the machine: --machine TYPE --id ID; a new one is added")
    name = f"--machine {options.machine} --id {options.id}"
    try:
        machine = MachineClass(machine_type=options.machine, machine_id=options.id)
    except ValueError:
        raise UserError(f"{name}: choose a plain name") from None
    is_new = machine not in file.classes
    if is_new:
        if options.machine == AUTO or not all(word and word == word.strip() for word in (options.machine, options.id)):
            raise UserError(f"{name}: choose a name without blanks around it, and not {AUTO}, which is the nearest one")
        if options.keeps:
            raise UserError(f"{machine} is new: there is nothing to keep, and no alarm was false")
        file = file.model_copy(update={"classes": (*file.classes, machine), "added": file.added + 1})
    own = file.classes.index(machine)
    check_scorers([scorer.config for scorer in scorers], own >= file.learnt_classes)
    if options.ignore_bands is not None:
        file = file.model_copy(update={"ignored": {**file.ignored, own: _bands(options.ignore_bands)}})
    if is_new:
        print(f"{machine} is a new machine beside {', '.join(map(str, file.classes[:-1]))}: it is added")
    return file, own


def _bands(text: str) -> tuple[tuple[float, float], ...]:
    """`50,1000-1100` in Hz; `none`: no band."""
    found = []
    for word in [] if text == "none" else text.split(","):
        parts = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:-\s*([0-9]+(?:\.[0-9]+)?)\s*)?", word)
        low, high = (float(parts[1]), float(parts[2] or parts[1])) if parts else (1.0, 0.0)
        if low > high:
            raise UserError(f"--ignore-bands {text}: give frequencies and ranges in Hz, such as 50,1000-1100, or none")
        found.append((low, high))
    return tuple(found)


def _rule(file: DetectorFile, own: int, options: Options) -> AnyThreshold:
    """As asked for; else as before."""
    known = file.threshold_rules.get(own, GammaConfig())
    return known if options.budget is None else options.budget.rule(file.clip_s)


def _check(options: Options, file: DetectorFile, own: int, places: Places) -> Path:
    """Where the card lies. Refuse, before any work, what has nothing to learn from, or would be lost."""
    check_over("--out", options.out, [*places.normal, *places.alarms, *places.missed])
    if options.out.is_dir() or not options.out.parent.is_dir() or is_recording(options.out):
        raise UserError(f"--out {options.out}: name a file in a folder that exists, such as calibrated.pt")
    check_writable(f"--out {options.out}", options.out.parent)
    if options.out.exists():
        read_detector(options.out)  # what is no detector is not written over
    if options.normals < 1:
        raise UserError(f"--normals {options.normals}: give a number from 1")
    if not options.recordings and not options.keeps:
        raise UserError("name normal recordings of the machine, or --keep those of the detector")
    if options.keeps:
        file.normals_of(own, options.detector)
        if options.ignore_bands is not None:
            raise UserError(
                "--ignore-bands changes what the kept recordings would have to be heard like: name normal recordings "
                "and leave out --keep and --false-alarm"
            )
    return card_path(options.out)


def _done(machine: MachineClass, places: Places, heard: Heard, options: Options) -> Calibration:
    """What is to be known of it later."""
    return Calibration(
        machine=str(machine),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        recordings=len(set(places.recording_of(places.normal))),
        windows=len(heard.rows.names),
        kept=options.keeps,
        false_alarms=len(places.alarms),
        missed=len(places.missed),
        by=Software.model_validate(provenance()),
    )


def _say(file: DetectorFile, own: int, out: Path, card_at: Path) -> None:
    """What was written, read back."""
    done, learnt = file.calibrations[-1], file.learnt[own]
    bands = file.ignored.get(own, ())
    print(
        f"{out}: {done.machine} by {done.windows} windows of {learnt.recordings} recordings of normal sound"
        f"{', former ones among them' if done.kept else ''}; {len(file.normals[own].names)} windows are kept"
        f"{f'; bands ignored: {in_words(bands)}' if bands else ''}\n"
        f"{card_at}: what it was made from, its scores, thresholds and limits"
    )
    if doubt := next((scorer.doubts[own] for scorer in file.scorers if own in scorer.doubts), None):
        log.warning("%s", doubt)
