"""`eval.py listen`: a detector beside a running machine."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asd.audio.recording import AVERAGE
from asd.audio.windows import Window
from asd.commands.hearing import AUTO, channel_of, machine_words, precision_of
from asd.detector import Detector, DetectorFile, read_detector
from asd.detector.drift import Room
from asd.detector.input import ENDED, Clock
from asd.detector.judge import make_cut
from asd.detector.live.alarm import Alarm
from asd.detector.live.kept import OddWindows
from asd.detector.live.lines import Lines
from asd.detector.live.listener import CHOOSING, Event, Listener, Unknown, follow
from asd.detector.live.mqtt import Mqtt
from asd.detector.live.ring import Ring
from asd.detector.live.sources import open_source
from asd.detector.nearest import Machines
from asd.detector.why import explainer
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.metrics.false_alarms import FalseAlarmsConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """The words of the command."""

    detector: Path
    source: str
    machine: str | None
    id: str | None
    scorer: str | None
    rate: int | None
    channels: int
    channel: str | None
    window_s: float | None
    overlap: float | None
    alarm_when: str | None
    cool_down: float
    end_after: float | None
    replay: bool
    alarms_only: bool
    mqtt: str | None
    keep_odd: Path | None
    keep_at_most: int


def listen_command(options: Options) -> None:
    """Listen until the source ends, or the command is stopped."""
    file = read_detector(options.detector)
    chosen = file.scorer(options.scorer)
    own = file.class_index(*machine_words(options.machine, options.id, file))
    for known in range(len(file.classes)) if options.machine == AUTO else [own]:
        if known not in chosen.thresholds:
            raise UserError(f"{file.classes[known]} has no threshold by {chosen.label}: calibrate it")
    if options.rate not in (None, file.sample_rate):
        raise UserError(
            f"--rate {options.rate}: the detector hears {file.sample_rate} Hz: have the recorder give that, as by "
            f"arecord -r {file.sample_rate} or ffmpeg -ar {file.sample_rate}"
        )
    length, hop = _cut(options, file, own)
    alarm = _alarm(options, file, own)
    ring = Ring(length, hop, file.sample_rate, options.channels, _channel(options, file))
    source = open_source(options.source, file.sample_rate, options.channels)
    if options.end_after is not None and not 0 < options.end_after < float("inf"):
        raise UserError(f"--end-after {options.end_after:g}: give seconds, above 0")
    if options.keep_at_most < 1:
        raise UserError(f"--keep-at-most {options.keep_at_most}: give a number from 1")
    with start_ranks(precision_of(file), timeout_s=60) as ranks, _sinks(options) as emit:
        detector = Detector.open(file, options.detector, ranks, own, chosen.label)
        keeper = None
        if options.keep_odd is not None:
            keeper = OddWindows(options.keep_odd, options.keep_at_most, file.sample_rate)

        def listener_of(detector: Detector) -> Listener:
            own = detector.own
            room = Room(file.normals[own]) if own in file.normals else None
            alarm, threshold = _alarm(options, file, own), chosen.thresholds[own]
            return Listener(detector, threshold, alarm, room, emit, keeper, explainer(detector))

        listener: Listener | Unknown
        if options.machine == AUTO:
            machines = Machines(detector)
            choose = partial(_chosen, machines, detector, listener_of)
            listener = Unknown(choose, emit, file.sample_rate)
        else:
            listener = listener_of(detector)
        clock = Clock(file.sample_rate) if source.is_live and not options.replay else None
        _say(options, file, own, length, hop, alarm)
        try:
            follow(source, ring, listener, clock, options.end_after, file.sample_rate)
        finally:  # also where it was stopped, or its source has become what cannot be heard
            listener.set_state(ENDED, ring.heard / file.sample_rate)
        if ring.heard < length:
            raise UserError(
                f"--source {options.source} gave {ring.heard / file.sample_rate:g} s of sound, less than a window of "
                f"{length / file.sample_rate:g} s: does the recorder run?"
            )
        if isinstance(listener, Unknown) and listener.known is None:
            raise UserError(
                f"--machine {AUTO}: {len(listener.windows)} windows with sound came, and {CHOOSING} tell the machine: "
                "nothing was scored"
            )


def _chosen(
    machines: Machines, detector: Detector, listener_of: Callable[[Detector], Listener], windows: Sequence[Window]
) -> Listener:
    """The listener of the machine that windows are nearest to, which it says."""
    embedded = [detector.embed(np.stack([window.samples for window in windows]), 0)]
    found = machines.nearest(embedded)
    listener = listener_of(detector.set_on(found.own))
    listener.say_machine(windows[0].begin_s, found.in_words(detector.file.classes))
    return listener


def _cut(options: Options, file: DetectorFile, own: int) -> tuple[int, int]:
    """Samples of a window, and from one to the next: as the threshold was made for, unless asked for otherwise."""
    cut, rule = make_cut(file, options.window_s, options.overlap or 0.0), file.threshold_rules.get(own)
    if options.overlap is None and isinstance(rule, FalseAlarmsConfig):
        return cut.length, max(1, round(rule.every_s * file.sample_rate))
    return cut.length, cut.hop


def _alarm(options: Options, file: DetectorFile, own: int) -> Alarm:
    if not 0 <= options.cool_down < float("inf"):
        raise UserError(f"--cool-down {options.cool_down:g}: give seconds from 0")
    rule = file.threshold_rules.get(own)
    if options.alarm_when is None:
        known = (rule.hits, rule.of) if isinstance(rule, FalseAlarmsConfig) else (1, 1)
        return Alarm(*known, options.cool_down)
    words = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", options.alarm_when)
    if words is None or not 1 <= int(words[1]) <= int(words[2]):
        raise UserError(f"--alarm-when {options.alarm_when}: give hits of windows, such as 3/5")
    if isinstance(rule, FalseAlarmsConfig) and (int(words[1]), int(words[2])) != (rule.hits, rule.of):
        log.warning("--alarm-when %s: the threshold was made for %s", options.alarm_when, rule.in_words)
    return Alarm(int(words[1]), int(words[2]), options.cool_down)


def _channel(options: Options, file: DetectorFile) -> Any:
    if not 1 <= options.channels <= 256:
        raise UserError(f"--channels {options.channels}: give a number from 1 to 256")
    channel = channel_of(options.channel, file, options.detector)
    if isinstance(channel, tuple):
        if max(channel) >= options.channels:
            raise UserError(
                f"--channels {options.channels}: {options.detector} hears {channel[0]} (near) and {channel[1]} "
                f"(reference): give --channels {max(channel) + 1} or more, or name others by --channel"
            )
        return channel
    if channel == AVERAGE or (options.channels == 1 and options.channel is None):
        return channel
    if not isinstance(channel, int) or channel >= options.channels:
        last = f" to {options.channels - 1}" * (options.channels > 1)
        raise UserError(f"--channels {options.channels}: name the one to hear, --channel 0{last}, or average")
    return channel


@contextmanager
def _sinks(options: Options) -> Iterator[Callable[[Event], None]]:
    """Where events go: lines of JSON on standard output, and a broker."""
    broker = None if options.mqtt is None else Mqtt(options.mqtt)
    lines = Lines(is_only=broker is None)

    def emit(event: Event) -> None:
        if broker is not None:
            broker.publish(event)
        if event["event"] != "window" or not options.alarms_only:
            lines.write(event)

    try:
        yield emit
    finally:
        if broker is not None:
            broker.close()


def _say(options: Options, file: DetectorFile, own: int, length: int, hop: int, alarm: Alarm) -> None:
    rate, machine = file.sample_rate, "the nearest machine" if options.machine == AUTO else str(file.classes[own])
    print(
        f"listening to {options.source} for {machine}: windows of {length / rate:g} s, one every "
        f"{hop / rate:g} s; an alarm is {alarm.hits} of {alarm.of} above the threshold",
        file=sys.stderr,
        flush=True,
    )
