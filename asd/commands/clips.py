"""`eval.py clips`: open a detector, score recordings, show the results."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asd.audio.listing import is_recording
from asd.audio.recording import Target
from asd.commands.hearing import AUTO, channel_of, machine_words, precision_of, progress_bar, say_inputs, warn
from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL
from asd.detector import Detector, DetectorFile, read_detector
from asd.detector.drift import Room
from asd.detector.judge import ClipResult, judge, make_cut
from asd.detector.nearest import of_nearest_machines
from asd.detector.output import Format, rendered, show
from asd.detector.recordings import is_table, of_one_machine, of_table
from asd.detector.timeline import draw
from asd.detector.why import explain_results
from asd.distributed.start import start_ranks
from asd.errors import UserError, printable
from asd.files.atomic import write_whole
from asd.files.paths import check_over, check_writable
from asd.report.evidence import joined
from asd.text.terminal import open_console

log = logging.getLogger(__name__)

SOME_UNREADABLE = 1


@dataclass(frozen=True)
class Options:
    """The words of the command."""

    detector: Path
    recordings: Sequence[Path]
    machine: str | None
    id: str | None
    scorer: str | None
    window_s: float | None
    overlap: float
    channel: str | None
    format: Format | None
    out: Path | None
    plot: Path | None
    explain: bool


def clips_command(options: Options) -> int:
    """The exit code: 1 where a recording could not be judged."""
    file = read_detector(options.detector)
    cut, target = (
        make_cut(file, options.window_s, options.overlap),
        Target(file.sample_rate, channel_of(options.channel, file, options.detector)),
    )
    chosen, how = file.scorer(options.scorer), _format(options)
    if is_table(options.recordings):
        asked, passed = of_table(file, options.recordings[0], options.machine, options.id), ""
    else:
        asked, passed = of_one_machine(file, options.recordings, *machine_words(options.machine, options.id, file))
    if options.explain:  # what cannot be explained is said before any work
        if file.reference_weight is not None:
            raise UserError(
                f"--explain: {options.detector} hears two microphones, and keeps normal sound of one to compare with: "
                "leave --explain out"
            )
        for own in dict.fromkeys(one.own for one in asked):
            file.normals_of(own, options.detector)
    if options.plot is not None:
        if options.plot.exists() and not options.plot.is_dir():
            raise UserError(f"--plot {options.plot} is a file: name a folder for the pictures")
        options.plot.mkdir(parents=True, exist_ok=True)
        check_writable(f"--plot {options.plot}", options.plot)
    if options.out is not None:
        _prepare(options.out, [options.detector, *options.recordings, *(one.path for one in asked)])
    with start_ranks(precision_of(file), timeout_s=60) as ranks:
        detector = Detector.open(file, options.detector, ranks, asked[0].own, chosen.label)
        if options.machine == AUTO:
            asked = list(of_nearest_machines(detector, asked, target, cut))
        with progress_bar(len(asked)) as progress:
            results = judge(detector, asked, target, cut, progress)
            if options.explain:
                explain_results(detector, results, target, cut)
    about = {
        "detector": str(options.detector),
        **_machine(results),
        "scorer": chosen.label,
        "window_s": cut.length / file.sample_rate,
        "sample_rate": file.sample_rate,
        "channel": target.channel,
        "trained_on": None if file.heard is None else file.heard.model_dump(mode="json"),
    }
    _show(options, results, about, how)
    heard = list(dict.fromkeys(one.own for one in asked))
    for doubt in joined(chosen.doubts[own] for own in heard if own in chosen.doubts):
        warn(doubt)
    for own in heard:
        _warn_of_drift(file, own, [result for result in results if result.asked.own == own])
    if passed:
        print(f"skipped: {passed}", file=sys.stderr)
    return _summary(results)


def _warn_of_drift(file: DetectorFile, own: int, results: Sequence[ClipResult]) -> None:
    """Say so where the room has changed, rather than the machine."""
    spectra = [spectrum for result in results for spectrum in result.spectra]
    drift = Room(file.normals[own]).drift(np.array(spectra)) if own in file.normals and spectra else None
    if drift is not None and drift.has_changed:
        warn(f"{file.classes[own]}: {drift.in_words()}")


def _prepare(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse what cannot be written, or would be lost, before any work."""
    check_over("--out", out, [path for path in inputs if not path.is_dir()])
    if out.is_dir() or is_recording(out):
        raise UserError(f"--out {out}: name a file for the results, such as today.csv")
    out.parent.mkdir(parents=True, exist_ok=True)
    check_writable(f"--out {out}", out.parent)


def _machine(results: Sequence[ClipResult]) -> dict[str, Any]:
    """The machine of all recordings and its threshold; None where they are of several."""
    (machine, threshold), *others = {(result.machine, result.threshold) for result in results}
    if others:
        return {"machine_type": None, "machine_id": None, "threshold": None}
    return {"machine_type": machine.machine_type, "machine_id": machine.machine_id, "threshold": threshold}


def _format(options: Options) -> Format:
    """As asked for; else as the ending of --out says; else a table."""
    if options.format is not None:
        return options.format
    endings: dict[str, Format] = {".csv": "csv", ".json": "json"}
    return endings.get(options.out.suffix.lower(), "table") if options.out is not None else "table"


def _show(options: Options, results: Sequence[ClipResult], about: dict[str, Any], how: Format) -> None:
    if options.out is not None:
        write_whole(options.out, rendered(results, about, how))
        print(f"{options.out}: {len(results)} recordings")
    elif how == "table":
        show(open_console(), results, about)
    else:
        sys.stdout.write(rendered(results, about, how))
    if options.plot is not None:
        drawn = draw(options.plot, results, about["scorer"], about["window_s"])
        print(f"{options.plot}: {len(drawn)} picture{'s' * (len(drawn) != 1)}", file=sys.stderr)


def _summary(results: Sequence[ClipResult]) -> int:
    """What a person should not miss, on stderr; the exit code."""
    say_inputs([(result.path, result.input, result.remarks) for result in results])
    for line in _by_labels(results):
        print(line, file=sys.stderr)
    silent = [result for result in results if result.error is not None]
    if not silent:
        return 0
    where = f" ({silent[0].asked.row})" if silent[0].asked.row else ""
    first = f"{printable(str(silent[0].path))}{where}: {silent[0].error}"
    log.warning(f"{len(silent)} of {len(results)} recordings have no score, first: {first}")
    return SOME_UNREADABLE


def _by_labels(results: Sequence[ClipResult]) -> Iterator[str]:
    """A line a machine with labelled recordings: how many of its decisions are right."""
    for machine in dict.fromkeys(result.machine for result in results):
        own = [result for result in results if result.machine == machine and result.decision is not None]
        called = {
            label: [result.decision == "anomaly" for result in own if result.asked.label == label]
            for label in (LABEL_ANOMALY, LABEL_NORMAL)
        }
        if any(called.values()):
            hits, alarms = (f"{sum(called[label])} of {len(called[label])}" for label in called)
            yield f"{machine}: {hits} anomalies found, {alarms} normal recordings called anomalies"
