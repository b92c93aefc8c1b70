"""`eval.py calibrate`: teach a detector a machine anew, or a new machine, by normal recordings and without training."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from asd.audio.listing import find_recordings, is_recording
from asd.audio.recording import Target
from asd.commands.budget import Budget
from asd.commands.hearing import channel_of, precision_of, progress_bar
from asd.data.manifest import MachineClass
from asd.detector import Detector, DetectorFile, FittedScorer, Software, build_network, read_detector, write_detector
from asd.detector.calibration import check_scorers, hear, join, lowered, refit
from asd.detector.file import Calibration
from asd.detector.judge import make_cut
from asd.detector.normals import Normals, kept_columns
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.files.paths import check_over
from asd.frontends.ignored import ignoring
from asd.metrics.thresholds import AnyThreshold, GammaConfig, fit_threshold
from asd.report.evidence import evidence_warnings, rule_in_words
from asd.run_folder.provenance import provenance
from asd.scorers import learns_from_faults
from asd.scorers.fused import Fused
from asd.scorers.per_clip import score_of_clips
from asd.scorers.state import restored

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
    channel: str | None
    budget: Budget | None


@dataclass(frozen=True)
class Heard:
    """All that is known of the machine: normal rows, those that banks are made of, faults that were missed."""

    rows: Normals
    core: Normals
    missed: Normals | None


def calibrate_command(options: Options) -> None:
    """Write a detector that differs from the given one in one machine."""
    file = read_detector(options.detector)
    file, own = _with_machine(file, options)
    known = file.threshold_rules.get(own, GammaConfig())
    rule = known if options.budget is None else options.budget.rule(file.clip_s)
    places = {name: _files(getattr(options, name)) for name in ("recordings", "alarms", "missed")}
    _check(options, file, own, [path for paths in places.values() for path in paths])
    network = build_network(file, options.detector)
    with ignoring(network, file.ignored.get(own, ())):
        pass  # that it can, before any work
    heard = _heard(file, own, options, places)
    views = network.views
    core, rows = (part.table(own, views) for part in (heard.core, heard.rows))
    if heard.missed is not None:
        core = replace(core, known_faults=heard.missed.table(own, views))
    elif forgotten := [scorer.label for scorer in file.scorers if _knows_faults(scorer, own)]:
        log.warning(
            "%s: %s had learnt from known faults, which a detector does not keep: name them by --missed, or normal "
            "recordings alone count from here on",
            file.classes[own], ", ".join(forgotten),
        )  # fmt: skip
    names = rows.per_clip().recording.tolist()
    scorers = []
    for scorer in file.scorers:
        state, scores = refit(scorer, own, core, rows, file.flipped)
        missed = [] if heard.missed is None else _missed_scores(scorer, own, state, heard.missed, views, file.flipped)
        scorers.append(_taught(scorer, own, file.classes[own], state, scores, names, missed, rule))
    done = Calibration(
        machine=str(file.classes[own]),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        recordings=len(places["recordings"]),
        windows=len(heard.rows.names),
        kept=_keeps(options),
        false_alarms=len(places["alarms"]),
        missed=len(places["missed"]),
        by=Software.model_validate(provenance()),
    )
    changed: dict[str, Any] = {
        "scorers": tuple(scorers),
        "normals": {**file.normals, own: heard.core},
        "missed": file.missed if heard.missed is None else {**file.missed, own: heard.missed},
        "threshold_rules": {**file.threshold_rules, own: rule},
        "calibrations": (*file.calibrations, done),
    }
    write_detector(options.out, file.model_copy(update=changed))
    _say(options.out, own, done)


def _with_machine(file: DetectorFile, options: Options) -> tuple[DetectorFile, int]:
    """The file with the scorers that are wanted, the machine among its classes and its ignored bands; the class."""
    scorers = tuple(file.scorer(label) for label in dict.fromkeys(options.scorer)) or file.scorers
    file = file.model_copy(update={"scorers": scorers, "format": 5})
    if options.machine is None or options.id is None:
        raise UserError("name the machine: --machine TYPE --id ID; a new one is added")
    try:
        machine = MachineClass(machine_type=options.machine, machine_id=options.id)
    except ValueError:
        raise UserError(f"--machine {options.machine} --id {options.id}: choose a plain name") from None
    is_new = machine not in file.classes
    if is_new:
        file = file.model_copy(update={"classes": (*file.classes, machine), "added": file.added + 1})
    own = file.classes.index(machine)
    check_scorers([scorer.config for scorer in scorers], own >= file.learnt_classes)
    if options.ignore_bands is not None:
        file = file.model_copy(update={"ignored": {**file.ignored, own: _bands(options.ignore_bands)}})
    if is_new and _keeps(options):
        raise UserError(f"{machine} is new: there is nothing to keep, and no alarm was false")
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


def _keeps(options: Options) -> bool:
    return options.keep or bool(options.alarms)


def _files(places: Sequence[Path]) -> list[Path]:
    return find_recordings(places).files if places else []


def _check(options: Options, file: DetectorFile, own: int, inputs: Sequence[Path]) -> None:
    """Refuse, before any work, what has nothing to learn from, or would be lost."""
    check_over("--out", options.out, inputs)
    if options.out.is_dir() or not options.out.parent.is_dir() or is_recording(options.out):
        raise UserError(f"--out {options.out}: name a file in a folder that exists, such as calibrated.pt")
    if options.out.exists():
        read_detector(options.out)  # what is no detector is not written over
    if options.normals < 1:
        raise UserError(f"--normals {options.normals}: give a number from 1")
    if not options.recordings and not _keeps(options):
        raise UserError("name normal recordings of the machine, or --keep those of the detector")
    if _keeps(options):
        file.normals_of(own, options.detector)
        if options.ignore_bands is not None:
            raise UserError(
                "--ignore-bands changes what the kept recordings would have to be heard like: name normal recordings "
                "and leave out --keep and --false-alarm"
            )


def _heard(file: DetectorFile, own: int, options: Options, places: dict[str, list[Path]]) -> Heard:
    """The network hears the recordings; those that are kept come first."""
    target = Target(file.sample_rate, channel_of(options.channel, file, options.detector))
    cut, kept = make_cut(file, None, 0.0), kept_columns([scorer.config for scorer in file.scorers])
    former = file.normals[own] if _keeps(options) else None
    first = 0 if former is None else 1 + int(max(former.columns[n].max() for n in ("clip_index", "recording")))
    with start_ranks(precision_of(file), timeout_s=60) as ranks:
        detector = Detector.open(file, options.detector, ranks, min(own, file.learnt_classes - 1)).for_class(own)
        normal = [*places["recordings"], *places["alarms"]]
        alone = len(normal) == 1 and former is None
        with progress_bar(len(normal)) as progress:
            new = hear(detector, normal, target, cut, first, kept, alone, progress) if normal else None
        missed = hear(detector, places["missed"], target, cut, 0, kept) if places["missed"] else file.missed.get(own)
    if new is None:
        assert former is not None
        return Heard(former, former, missed)
    clips, recording = new.columns["clip_index"], new.columns["recording"]
    alarms = clips[recording >= first + len(places["recordings"])] if places["alarms"] else clips[:0]
    return Heard(*join(former, new, options.normals, alarms), missed)


def _knows_faults(scorer: FittedScorer, own: int) -> bool:
    if own not in scorer.state or not learns_from_faults(scorer.config):
        return False
    known = restored(scorer.config, {own: scorer.state[own]})
    return bool(known.with_faults) if isinstance(known, Fused) else known.models[own] is not None


def _missed_scores(
    scorer: FittedScorer, own: int, state: object, missed: Normals, views: Any, flipped: Sequence[int]
) -> list[float]:
    """Of each missed recording, the mean over its windows."""
    table = missed.table(own, views)
    scores = score_of_clips(restored(scorer.config, {own: state}), table, flipped)
    recording = table.per_clip().recording.numpy()
    return [float(scores[recording == one].mean()) for one in np.unique(recording)]


def _taught(
    scorer: FittedScorer,
    own: int,
    machine: MachineClass,
    state: object,
    scores: np.ndarray,
    names: Sequence[int],
    missed: Sequence[float],
    rule: AnyThreshold,
) -> FittedScorer:
    """The scorer with its new state and threshold of one machine; says what is to be known of them."""
    finite = np.isfinite(scores)
    normal, recording = scores[finite], [name for name, there in zip(names, finite, strict=True) if there]
    try:
        found = fit_threshold(normal, rule, recording)
    except UserError as error:
        raise UserError(f"{machine}, scorer {scorer.label}: {error}") from None
    words, doubt = rule_in_words(found, rule), evidence_warnings({str(machine): found}, rule)
    value, below = lowered(found.value, missed, normal, rule.may_be_above(len(normal)))
    if value < found.value:
        words += f"; lowered from {found.value:.5g} for missed faults"
    print(f"{machine}: {scorer.label} above {value:.5g} is an anomaly, {words}")
    for score in below:
        log.warning(
            "%s: a missed fault stays below the threshold of %s: it scores %.5g, as do %d of %d normal clips or more, "
            "where %d may lie above",
            machine, scorer.label, score, int(np.sum(normal >= score)), len(normal), rule.may_be_above(len(normal)),
        )  # fmt: skip
    doubts = {known: said for known, said in scorer.doubts.items() if known != own}
    return scorer.model_copy(
        update={
            "state": {**scorer.state, own: state},
            "thresholds": {**scorer.thresholds, own: value},
            "rules": {**scorer.rules, own: words},
            "doubts": doubts | ({own: doubt[0].text} if doubt else {}),
        }
    )


def _say(out: Path, own: int, done: Calibration) -> None:
    """What was written, read back."""
    file = read_detector(out)
    bands = ", ".join(f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in file.ignored.get(own, ()))
    print(
        f"{out}: {done.machine} by {done.windows} windows of normal sound"
        f"{', former ones among them' if done.kept else ''}; {len(file.normals[own].names)} are kept"
        f"{f'; bands ignored: {bands} Hz' if bands else ''}"
    )
    for scorer in file.scorers:
        if own in scorer.doubts:
            log.warning("%s", scorer.doubts[own])
            break
