"""`eval.py clips`: open the detector, hear the recordings, show what was found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from asd.audio.listing import find_recordings
from asd.audio.recording import AVERAGE, Target
from asd.clips.judge import Verdict, judge, make_cut
from asd.clips.output import Format, rendered, table
from asd.clips.timeline import draw
from asd.detector import Detector, DetectorFile, read_detector
from asd.distributed import Precision, start_ranks
from asd.errors import UserError
from asd.files import write_whole
from asd.terminal import open_console

SOME_UNREADABLE = 1


@dataclass(frozen=True)
class Options:
    """The words of the command."""

    detector: Path
    places: Sequence[Path]
    machine: str | None
    id: str | None
    scorer: str | None
    window_s: float | None
    overlap: float
    channel: str
    format: Format | None
    out: Path | None
    plot: Path | None


def clips_command(options: Options) -> int:
    """The exit code: 1 where a recording could not be judged."""
    file = read_detector(options.detector)
    own = file.class_index(options.machine, options.id)
    cut, target = make_cut(file, options.window_s, options.overlap), Target(file.sample_rate, _channel(options.channel))
    chosen, how = file.scorer(options.scorer), _format(options)
    found = find_recordings(options.places)
    with start_ranks(_precision(file), timeout_s=60) as ranks:
        detector = Detector.open(file, options.detector, ranks, own, chosen.label)
        with _bar(len(found.files)) as progress:
            verdicts = judge(detector, found.files, target, cut, progress)
    about = {
        "detector": str(options.detector),
        "machine_type": file.classes[own].machine_type,
        "machine_id": file.classes[own].machine_id,
        "scorer": chosen.label,
        "threshold": detector.threshold,
        "window_s": cut.length / file.sample_rate,
    }
    _show(options, verdicts, about, how)
    if found.passed:
        print(f"passed over: {found.passed_in_words()}", file=sys.stderr)
    return _summary(verdicts)


def _precision(file: DetectorFile) -> Precision:
    """That of the training, but for half precision on a machine that has no GPU."""
    return "auto" if file.precision == "fp16" and not torch.cuda.is_available() else file.precision


def _channel(text: str) -> Any:
    if text == AVERAGE:
        return text
    if not text.isdecimal():
        raise UserError(f"--channel {text}: give a number from 0, or average")
    return int(text)


def _format(options: Options) -> Format:
    """As asked for; else as the ending of --out says; else a table."""
    if options.format is not None:
        return options.format
    endings: dict[str, Format] = {".csv": "csv", ".json": "json"}
    return endings.get(options.out.suffix.lower(), "table") if options.out is not None else "table"


def _show(options: Options, verdicts: Sequence[Verdict], about: dict[str, Any], how: Format) -> None:
    if options.out is not None:
        write_whole(options.out, rendered(verdicts, about, how))
        print(f"{options.out}: {len(verdicts)} recordings")
    elif how == "table":
        open_console().print(table(verdicts, about))
    else:
        sys.stdout.write(rendered(verdicts, about, how))
    if options.plot is not None:
        drawn = draw(options.plot, verdicts, about["scorer"], about["window_s"])
        print(f"{options.plot}: {len(drawn)} pictures", file=sys.stderr)


def _summary(verdicts: Sequence[Verdict]) -> int:
    """What a person should not miss, on stderr; the exit code."""
    remarks: dict[str, int] = {}
    for remark in (remark for verdict in verdicts for remark in verdict.remarks):
        remarks[remark] = remarks.get(remark, 0) + 1
    for remark, count in remarks.items():
        print(f"{count} of {len(verdicts)} recordings: {remark}", file=sys.stderr)
    silent = [verdict for verdict in verdicts if verdict.error is not None]
    if not silent:
        return 0
    first = f"{silent[0].path}: {silent[0].error}"
    print(f"warning: {len(silent)} of {len(verdicts)} recordings have no score, first: {first}", file=sys.stderr)
    return SOME_UNREADABLE


@contextmanager
def _bar(total: int) -> Iterator[Callable[[float], None]]:
    """A bar on stderr while the block runs, gone afterwards; the function moves it."""
    columns = (TextColumn("{task.completed:.0f} of {task.total} recordings"), BarColumn(), TimeRemainingColumn())
    console = open_console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)
