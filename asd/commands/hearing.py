"""What clips, calibrate and listen have in common: channel, precision, a bar."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from asd.audio.recording import AVERAGE, Channel, channel_words, read_channel
from asd.detector import DetectorFile
from asd.detector.input import OF_RECORDINGS, OK
from asd.detector.recorded import counted
from asd.distributed.device import Precision
from asd.errors import UserError, printable
from asd.text.terminal import open_console

log = logging.getLogger(__name__)

AUTO = "auto"  # in the place of a machine type: the nearest machine


def machine_words(machine: str | None, id_: str | None, file: DetectorFile) -> tuple[str | None, str | None]:
    """Type and ID as the command has them; with `auto`, of any machine until it is found out."""
    if machine != AUTO:
        return machine, id_
    if id_ is not None:
        raise UserError(f"--machine {AUTO}: leave out --id, which is found out as well")
    return file.classes[0].machine_type, file.classes[0].machine_id


def precision_of(file: DetectorFile) -> Precision:
    """That of the training, but for half precision on a machine that has no GPU."""
    return "auto" if file.precision == "fp16" and not torch.cuda.is_available() else file.precision


def channel_of(wanted: str | None, file: DetectorFile, source: Path) -> Channel:
    """As in the packing of what the detector was trained on, or as asked for, which is then said.

    UserError where a detector of two microphones would hear one, or another one two.
    """
    if wanted is None and file.heard is not None:
        return file.heard.channel
    chosen = _read_channel(AVERAGE if wanted is None else wanted)
    if isinstance(chosen, tuple) != (file.reference_weight is not None):
        two = "a near and a reference microphone: name both, --channel NEAR,REFERENCE, such as 0,1"
        heard = "one channel: name one, --channel N" if file.reference_weight is None else two
        raise UserError(f"--channel {channel_words(chosen)}: {source} hears {heard}")
    if file.heard is None:
        done = "the mean of several is taken" if wanted is None else "check that it was the same"
        remedy = "pack, train and export again, or name --channel"
        warn(f"{source} does not say which channel it was trained on: {done} ({remedy})")
    elif chosen != file.heard.channel:
        warn(f"--channel {wanted}: {source} was trained on {file.heard.channel_in_words()}")
    return chosen


def _read_channel(text: str) -> Channel:
    try:
        return read_channel(text)
    except ValueError as error:
        raise UserError(f"--channel {error}") from None


def warn(line: str) -> None:
    log.warning(printable(line))


def say_inputs(found: Sequence[tuple[Path, str, Sequence[str]]]) -> None:
    """Of recordings: path, state and remarks. What is no good is a warning of its own, with the first of its kind."""
    for line in counted([remarks for _, _, remarks in found]):
        print(line, file=sys.stderr)
    of_state: dict[str, list[Path]] = {}
    for path, state, _ in found:
        of_state.setdefault(state, []).append(path)
    for state, paths in of_state.items():
        if state != OK:
            of = f"{len(paths)} of {len(found)} recordings, first: {paths[0]}"
            warn(f"input {state}: {of}: {OF_RECORDINGS[state]}")


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[float], None]]:
    """A bar on stderr while the block runs, gone afterwards; the function moves it."""
    columns = (TextColumn("{task.completed:.0f} of {task.total} recordings"), BarColumn(), TimeRemainingColumn())
    console = open_console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)
