"""Samples of clips straight from the tars into the rows of a batch, with as few system calls as the tars allow.

Thread-safe: a reader holds only file descriptors. Legend: n clips, T samples a row.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import soundfile

from asd.data.manifest import Manifest
from asd.errors import UserError

# Neighbours in a tar are read by one call when no more than this lies between them (tar headers, the json member,
# cropped samples): reading 64 KiB for nothing costs less than a second call that holds the interpreter lock.
MAX_GAP_BYTES = 64 * 1024
MAX_CLIPS_A_CALL = 512  # each takes up to two of the 1024 buffers that Linux allows a call
TAR_BLOCK = 512

Piece = tuple[int, int, int, int]  # shard, first byte in its tar, bytes, row of the batch that they belong into


class Reader:
    """Reads clips of a manifest; a clip that cannot be read becomes silence and is remembered in `bad`."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.bad: dict[int, str] = {}  # clip index → what went wrong
        self._shard = manifest.column("shard")
        self._begin = manifest.column("offset") + manifest.column("payload_offset")
        self._size = manifest.column("size")
        self._frames = manifest.frames
        self._is_flac = manifest.is_flac
        self._channels = manifest.channels
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()
        self._scratch = memoryview(bytearray(MAX_GAP_BYTES))
        _allow_open_files(len(manifest.file.shards))

    def read(
        self, clips: np.ndarray, starts: np.ndarray, rows: np.ndarray, reference: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill rows (n, T) int16 from sample `starts` of each clip; shorter clips are repeated to fill their row.

        reference (n, T) int16: to be filled with the second channel, of sets that have two. Returns (frames read before
        repeats (n,) int64, readable (n,) bool).
        """
        frames = np.minimum(self._frames[clips] - starts, rows.shape[1])
        valid = np.ones(len(clips), dtype=bool)
        samples = rows if self._channels == 1 else np.empty((*rows.shape, self._channels), dtype=np.int16)
        for row, problem in self._read_rows(clips, starts, frames, samples):
            samples[row], valid[row] = 0, False
            self.bad.setdefault(int(clips[row]), problem)
        if samples is not rows:  # a tar has the channels of a sample side by side
            rows[:] = samples[..., 0]
        if reference is not None:
            reference[:] = samples[..., 1]
            repeat_short(reference, frames)
        repeat_short(rows, frames)
        return frames, valid

    def check_members(self) -> None:
        """Refuse tars whose first or last member is not the clip that the table has there (exchanged or damaged)."""
        shard = self._shard
        first = np.flatnonzero(np.diff(shard, prepend=-1))
        last = np.flatnonzero(np.diff(shard, append=-1))
        clips = np.unique(np.concatenate([first, last]))
        offsets = self.manifest.column("offset")[clips] - TAR_BLOCK
        for clip, offset, key in zip(clips, offsets, self.manifest.strings("key", clips), strict=True):
            name = os.pread(self._file(int(shard[clip])), 100, int(offset))
            if not name.startswith(f"{key}.".encode()[:100]):
                file = self.manifest.root / self.manifest.file.shards[shard[clip]].file
                raise UserError(f"{file} does not hold clip {key} where the manifest says: copy or pack it again")

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _open(self, shard: int) -> AbstractContextManager[int]:
        """A tar for one read. One that may have to make room for others is closed behind it."""
        tars = self.manifest.tars
        return nullcontext(self._file(shard)) if tars is None or tars.keep_open else _closed_behind(tars.open(shard))

    def _file(self, shard: int) -> int:
        if shard not in self._files:
            tars, path = self.manifest.tars, f"{self.manifest.root}/{self.manifest.file.shards[shard].file}"
            descriptor = os.open(path, os.O_RDONLY) if tars is None else tars.open(shard)  # others read on meanwhile
            with self._lock:
                if self._files.setdefault(shard, descriptor) != descriptor:
                    os.close(descriptor)
        return self._files[shard]

    def _read_rows(
        self, clips: np.ndarray, starts: np.ndarray, frames: np.ndarray, rows: np.ndarray
    ) -> Iterator[tuple[int, str]]:
        """Rows that could not be read, and why. rows (n, T), or with channels (n, T, K), must be contiguous."""
        flac = self._is_flac[clips]
        for row in np.flatnonzero(flac).tolist():
            problem = self._read_flac(int(clips[row]), int(starts[row]), rows[row, : frames[row]])
            if problem:
                yield row, problem
        pcm = np.flatnonzero(~flac)
        frame_bytes = 2 * self._channels
        columns = (self._shard[clips], self._begin[clips] + frame_bytes * starts, frame_bytes * frames)
        pieces = sorted(zip(*(column[pcm].tolist() for column in columns), pcm.tolist(), strict=True))
        if pieces:
            memory = memoryview(rows).cast("B")  # type: ignore[arg-type]  # numpy stubs before 3.12
            for run in _runs(pieces):
                yield from self._read_run(run, memory, rows.strides[0])

    def _read_run(self, run: Sequence[Piece], memory: memoryview, row_bytes: int) -> list[tuple[int, str]]:
        """One call for all pieces of a run; memory: the whole batch. Returns what could not be read, and why."""
        shard, position, _, first_row = run[0]
        first, buffers = position, []
        for _, begin, size, row in run:
            if begin > position:
                buffers.append(self._scratch[: begin - position])
            buffers.append(memory[row * row_bytes : row * row_bytes + size])
            position = begin + size
        try:
            with self._open(shard) as tar:
                got = os.preadv(tar, buffers, first)
            problem = "the tar ends before the clip does"
        except OSError as error:
            got, problem = -1, str(error)
        if got == position - first:
            return []
        if len(run) > 1:  # find out which clip of the run it is
            return [bad for piece in run for bad in self._read_run([piece], memory, row_bytes)]
        return [(first_row, problem)]

    def _read_flac(self, clip: int, start: int, row: np.ndarray) -> str | None:
        """What went wrong, if anything.

        The decoder gets a file of its own in memory: reading from a Python object, it would take the interpreter lock
        for every few KB, and two threads decode 1.3 times slower.
        """
        try:
            with self._open(int(self._shard[clip])) as tar:
                data = os.pread(tar, int(self._size[clip]), int(self._begin[clip]))
            with os.fdopen(os.memfd_create("clip"), "w+b", buffering=0) as memory:
                memory.write(data)
                memory.seek(0)
                with soundfile.SoundFile(memory.fileno(), closefd=False) as file:
                    file.seek(start)
                    found = len(file.read(len(row), dtype="int16", out=row))
        except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
            return str(error)
        return None if found == len(row) else "shorter than the table says"


def _runs(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Sorted pieces, grouped by what lies close together in one tar."""
    run: list[Piece] = []
    end = 0
    for piece in pieces:
        shard, begin, size, _ = piece
        if run and (shard != run[0][0] or not 0 <= begin - end <= MAX_GAP_BYTES or len(run) == MAX_CLIPS_A_CALL):
            yield run
            run = []
        run.append(piece)
        end = begin + size
    if run:
        yield run


@contextmanager
def _closed_behind(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def repeat_short(rows: np.ndarray, frames: np.ndarray) -> None:
    for row in np.flatnonzero(frames < rows.shape[1]):
        count = int(frames[row])
        rows[row, count:] = np.resize(rows[row, :count], rows.shape[1] - count)


def _allow_open_files(count: int) -> None:
    """Raise the soft limit of open files where a set has more shards than it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
