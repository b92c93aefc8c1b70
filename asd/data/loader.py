"""Loads batches ahead of the training step: reader threads fill reused, pinned int16 buffers. No worker processes.

Legend: n clips of one rank's batch, T samples.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from asd.data.batch import Batch
from asd.data.buffer import Buffer, Form
from asd.data.config import AT_ONCE
from asd.data.manifest import Manifest
from asd.data.plan import Plan, crop_starts, rank_slice
from asd.data.reader import Reader
from asd.process.stop import StopSignal

POLL_S = 0.2  # how soon a stop is noticed
GRACE_S = 2.0  # that a batch still has to come once a stop was asked for
TOGETHER = 4  # batches at most that a thread reads together


@dataclass(frozen=True)
class Request:
    """What one batch shall hold."""

    clips: np.ndarray  # (n,) clip indices
    starts: np.ndarray  # (n,) first sample of each crop
    length: int  # T
    epoch: int = 0
    step: int = 0
    first_row: int = 0
    reference: bool = False  # whether the reference microphone is wanted beside the near one

    @property
    def form(self) -> Form:
        return 2 if self.reference else 1, len(self.clips), self.length


class BatchSource(Protocol):
    """Turns requests into batches on a device, in order."""

    manifest: Manifest
    asked: int
    given: int  # batches; one more asked for than given: the consumer waits

    @property
    def bad(self) -> Mapping[int, str]:
        """Clip index → what went wrong, of the clips of all batches so far."""

    def stream(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """Batches of the requests. Each is valid until the next is asked for."""

    def pop_wait_s(self) -> float:
        """Seconds that the consumer waited for data since the last call."""

    def close(self) -> None:
        """No batch is asked for any more."""


class ClipReader(Protocol):
    """Where a loader's samples come from. Thread-safe."""

    bad: dict[int, str]  # clip index → what went wrong

    def read(
        self, clips: np.ndarray, starts: np.ndarray, rows: np.ndarray, reference: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill rows (n, T) int16, and where it is wanted reference (n, T) int16 with the second channel; (frames before
        repeats (n,) int64, readable (n,) bool)."""

    def close(self) -> None:
        """No clip is read any more."""


class Loader:
    """A `BatchSource` that fills batches a few ahead, in threads; reader: of the set's tars where it is not given.

    at_once: samples that a thread may read for several batches together, which are then ready together; 0: each batch
    alone. At each end of a copy the training thread stops to let a reader have the interpreter's lock.
    """

    def __init__(
        self,
        manifest: Manifest,
        device: torch.device,
        threads: int,
        prefetch: int,
        stop: StopSignal | None = None,
        reader: ClipReader | None = None,
        at_once: int = 0,
    ) -> None:
        self.reader = Reader(manifest) if reader is None else reader
        self._at_once = at_once
        self.manifest = manifest
        self.device = device
        self.prefetch = prefetch
        self._stop = stop
        self._wait_s = 0.0
        self.asked = self.given = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    @property
    def bad(self) -> Mapping[int, str]:
        return self.reader.bad

    def stream(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """Batches of the requests. Each is valid until the next is asked for.

        Once a stop was asked for, a batch that does not come is a placeholder, and so are all behind it.
        """
        free = deque(Buffer(pinned=self.device.type == "cuda") for _ in range(self.prefetch + 1))
        pending: deque[tuple[list[Request], Future[tuple[list[Batch], Buffer]]]] = deque()
        upcoming = _together(requests, self._at_once)
        try:
            while True:
                while len(pending) <= self.prefetch and (task := next(upcoming, None)) is not None:
                    pending.append((task, self._pool.submit(self._fill, task, free)))
                if not pending:
                    return
                task, future = pending.popleft()
                if not self._came(future):
                    break
                batches, buffer = future.result()
                for batch in batches:
                    self.asked = self.given = self.given + 1
                    yield buffer.hand_over(batch, self.device)
                free.append(buffer)
            for missed in chain(task, *(later for later, _ in pending), chain.from_iterable(upcoming)):
                self.asked = self.given = self.given + 1
                yield self._placeholder_batch(missed)
        finally:
            for _, future in pending:
                future.cancel()

    def _came(self, future: Future[Any]) -> bool:
        """Wait for batches, or for a stop signal and a moment longer; whether they came."""
        self.asked += 1
        begin = time.perf_counter()
        came = _done_within(future, POLL_S)
        while not came and (self._stop is None or self._stop.name is None):
            came = _done_within(future, POLL_S)
        came = came or _done_within(future, GRACE_S)
        self._wait_s += time.perf_counter() - begin
        return came

    def _placeholder_batch(self, request: Request) -> Batch:
        buffer, count = Buffer(pinned=False), len(request.clips)
        rows, [waveforms] = buffer.cut(1, request.form)
        rows[:] = 0
        nothing = np.full(count, request.length), np.zeros(count, dtype=bool)
        batch = batch_of(self.manifest, request, waveforms, *nothing, buffer.pin)
        return replace(batch.to(self.device), is_placeholder=True)

    def pop_wait_s(self) -> float:
        """Seconds that the consumer waited for data since the last call."""
        waited, self._wait_s = self._wait_s, 0.0
        return waited

    def close(self) -> None:
        if self.manifest.tars is not None:
            self.manifest.tars.close()  # what is being fetched shall not hold up the end
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.reader.close()

    def _fill(self, task: list[Request], free: deque[Buffer]) -> tuple[list[Batch], Buffer]:
        # The buffer used last still lies in the processor's cache; of pinned ones the oldest, whose copy is long done.
        buffer = free.popleft() if self.device.type == "cuda" else free.pop()
        rows, waveforms = buffer.cut(len(task), task[0].form)
        clips, starts = (np.concatenate([getattr(one, name) for one in task]) for name in ("clips", "starts"))
        found = self.reader.read(clips, starts, *rows)
        frames, valid = (column.reshape(len(task), -1) for column in found)
        parts = zip(task, waveforms, frames, valid, strict=True)
        return [batch_of(self.manifest, *part, buffer.pin) for part in parts], buffer


def _together(requests: Iterable[Request], samples: int) -> Iterator[list[Request]]:
    """Requests behind one another that are alike: `TOGETHER` of them, fewer where they would ask for more samples."""
    task: list[Request] = []
    for request in requests:
        if task and task[0].form != request.form:
            yield task
            task = []
        task.append(request)
        if len(task) == TOGETHER or (len(task) + 1) * math.prod(request.form) > samples:
            yield task
            task = []
    if task:
        yield task


def batch_of(
    manifest: Manifest,
    request: Request,
    waveforms: Sequence[Tensor] | Tensor,
    frames: np.ndarray,
    valid: np.ndarray,
    pin: Callable[[np.ndarray], Tensor],
) -> Batch:
    """The waveforms (n, T) of a request, one or with the reference two, with what the table says of its clips.

    pin: makes a column a tensor.
    """
    clips, proxy = request.clips, manifest.proxy
    faults = manifest.is_known_fault if len(manifest.known_faults) else None
    return Batch(
        waveform=waveforms[0],
        reference=waveforms[1] if request.reference else None,
        frames=pin(frames),
        clip_index=pin(clips),
        class_index=pin(manifest.class_index[clips].astype(np.int64)),
        domain=pin(manifest.domain_index[clips].astype(np.int64)),
        valid=pin(valid),
        epoch=request.epoch,
        step=request.step,
        first_row=request.first_row,
        proxy_index=None if proxy is None else pin(proxy.of_clip[clips].astype(np.int64)),
        is_fault=None if faults is None else pin(faults[clips]),
    )


def _done_within(future: Future[Any], seconds: float) -> bool:
    """Whether it is done, now or so many seconds later. (futures.wait sets up an event first: 2 µs of a clip.)"""
    with suppress(TimeoutError):
        future.exception(seconds)
        return True
    return False


def training_requests(
    manifest: Manifest,
    plan: Plan,
    crop: int,
    epoch: int,
    step: int,
    rank: int,
    world_size: int,
    first: int | None = None,
) -> Iterator[Request]:
    """This rank's requests from (epoch, step) on, without end; all streams of a step lie one behind the other.

    first: crops lie within so many samples of a clip; None: anywhere.
    """
    while True:
        streams = plan.epoch(epoch).values()
        own = np.concatenate([rank_slice(stream.T, rank, world_size).T for stream in streams], axis=1)
        if manifest.tars is not None:
            manifest.tars.expect(own[step:].ravel())
        for begin in range(step, plan.steps_per_epoch, AT_ONCE):
            clips = own[begin : begin + AT_ONCE]
            frames = manifest.frames[clips]
            frames = frames if first is None else np.minimum(frames, first)
            starts = crop_starts(plan.seed, epoch, clips, frames, crop)
            for at, rows in enumerate(zip(clips, starts, strict=True), start=begin):
                yield Request(*rows, crop, epoch, at, rank * own.shape[1])
        epoch, step = epoch + 1, 0


def whole_clip_requests(
    manifest: Manifest, batches: Iterable[np.ndarray], first: int | None = None, reference: bool = False
) -> Iterator[Request]:
    """Requests for whole clips; each batch holds clip indices of one length. Or for the `first` samples of all.

    reference: with the reference microphone's, of a set that has one.
    """
    batches = list(batches)
    if manifest.tars is not None and batches:
        manifest.tars.expect(np.concatenate(batches))
    for clips in batches:
        starts = np.zeros(len(clips), dtype=np.int64)
        yield Request(clips, starts, first or int(manifest.frames[clips[0]]), reference=reference)
