"""Windows of live sound → events: scores, alarms, states of the input, a room that has changed."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from asd.audio.windows import Window
from asd.detector.detector import Detector
from asd.detector.drift import Room
from asd.detector.input import IN_WORDS, MISSING, OK, WRONG_RATE, Clock, state_of
from asd.detector.live.alarm import Alarm
from asd.detector.live.ring import Ring
from asd.detector.live.sources import Source

Event = dict[str, Any]
MISSING_S = 3.0  # without a sample
CHOOSING = 3  # windows with sound by which an unknown machine is found out
ROOM_WINDOWS = 30  # by which the room is judged


def event_of(name: str, at_s: float, machine: str | None, state: str) -> Event:
    """What every event says; machine: None until it is known."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"event": name, "time": now, "at_s": round(at_s, 3), "machine": machine, "input": state}


class Keeper(Protocol):
    """Keeps odd windows; gives the name of one, None where it is not kept."""

    def keep(self, window: Window, score: float, why: Event | None) -> str | None: ...


@dataclass
class Listener:
    """What is known from window to window; emit: takes every event; explain: why samples (T,) begin an alarm."""

    detector: Detector
    threshold: float
    alarm: Alarm
    room: Room | None
    emit: Callable[[Event], None]
    keeper: Keeper | None = None
    explain: Callable[[np.ndarray], Event | None] = lambda samples: None

    def __post_init__(self) -> None:
        self.state = OK
        self._has_changed = False
        self._spectra: deque[np.ndarray] = deque(maxlen=ROOM_WINDOWS)

    def hear(self, window: Window) -> None:
        """Score a window, unless what came in is no sound."""
        end_s = window.begin_s + len(window.samples) / self.detector.file.sample_rate
        if self.state != WRONG_RATE:
            self.set_state(state_of(window.samples), end_s)
        if self.state != OK:
            self._event("window", end_s, score=None)
            return
        columns = self.detector.embed(window.samples[None], 0)
        score = float(self.detector.score([columns])[0])
        self._spectra.append(columns.features.numpy().mean(axis=0))
        is_above = math.isfinite(score) and score > self.threshold
        change = self.alarm.add(is_above, end_s)
        about: Event = {"score": score if math.isfinite(score) else None, "threshold": self.threshold}
        about |= {"above": is_above, "hits": self.alarm.count, "of": self.alarm.of, "room_changed": self._has_changed}
        why = self.explain(window.samples) if change == "alarm" else None
        if is_above and self.keeper is not None:
            about["kept"] = self.keeper.keep(window, score, why)
        self._event("window", end_s, **about)
        self._judge_room(end_s)
        if change is not None:
            told = {} if why is None else {"why": why["sentence"]}
            self._event(change, end_s, **about | {"room_changed": self._has_changed} | told)

    def set_state(self, state: str, at_s: float) -> None:
        """Say what has become of the input, once; windows before a gap do not count for an alarm any more."""
        if state != OK:
            self.alarm.forget()
        if state != self.state:
            self.state = state
            self._event("input", at_s, words=IN_WORDS[state])

    def _judge_room(self, at_s: float) -> None:
        drift = None if self.room is None else self.room.drift(np.array(self._spectra))
        has_changed = drift is not None and drift.has_changed
        if has_changed != self._has_changed:
            self._has_changed = has_changed
            words = drift.in_words() if drift is not None and has_changed else "the room is as it was"
            self._event("room", at_s, changed=has_changed, words=words)

    def say_machine(self, at_s: float, words: str) -> None:
        """Which machine it was found to be."""
        self._event("machine", at_s, words=words)

    def _event(self, name: str, at_s: float, **more: Any) -> None:
        machine = str(self.detector.file.classes[self.detector.own])
        self.emit(event_of(name, at_s, machine, self.state) | more)


@dataclass
class Unknown:
    """In the place of a listener until the machine is known, by the first windows that hold sound. choose: by these."""

    choose: Callable[[Sequence[Window]], Listener]
    emit: Callable[[Event], None]
    rate: int
    windows: list[Window] = field(default_factory=list)
    known: Listener | None = None
    _state: str = OK

    @property
    def state(self) -> str:
        return self._state if self.known is None else self.known.state

    def set_state(self, state: str, at_s: float) -> None:
        """Say what has become of the input, once."""
        if self.known is not None:
            self.known.set_state(state, at_s)
        elif state != self._state:
            self._state = state
            self.emit(event_of("input", at_s, None, state) | {"words": IN_WORDS[state]})

    def hear(self, window: Window) -> None:
        """Windows that are no sound are no window of any machine."""
        if self.known is not None:
            self.known.hear(window)
            return
        if self._state != WRONG_RATE:
            self.set_state(state_of(window.samples), window.begin_s + len(window.samples) / self.rate)
        if self._state == OK:
            self.windows.append(window)
        if len(self.windows) == CHOOSING:
            self.known = self.choose(self.windows)
            for waiting in self.windows:
                self.known.hear(waiting)
            self.windows.clear()


def follow(
    source: Source, ring: Ring, listener: Listener | Unknown, clock: Clock | None, end_after_s: float | None, rate: int
) -> None:
    """Until the source ends, or nothing has come for end_after_s. clock: None: sound comes faster than it was heard."""
    last_s = time.monotonic()
    for piece in source.pieces():
        now_s, heard = time.monotonic(), ring.heard
        if not piece:
            if now_s - last_s >= MISSING_S and listener.state != MISSING:
                ring.clear()
                listener.set_state(MISSING, heard / rate)
                if clock is not None:
                    clock.restart()
            if end_after_s is not None and now_s - last_s >= end_after_s:
                return
            continue
        last_s = now_s
        if listener.state == MISSING:
            listener.set_state(OK, heard / rate)
        for window in ring.push(piece):
            listener.hear(window)
        if clock is not None and (found := clock.add(ring.heard - heard)) is not None:
            is_wrong = clock.is_wrong(found)
            if is_wrong or listener.state == WRONG_RATE:
                listener.set_state(WRONG_RATE if is_wrong else OK, ring.heard / rate)
