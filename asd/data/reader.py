"""Samples of clips straight from the tars into the rows of a batch, with as few system calls as the tars allow.

Thread-safe: a reader holds only file descriptors. Legend: n clips, T samples a row.
"""

from __future__ import annotations

import io
import os
import resource
import threading

import numpy as np
import soundfile

from asd.data.manifest import Manifest
from asd.errors import UserError

# Neighbours in a tar are read by one call when no more than this lies between them (tar headers, the json member,
# cropped samples): reading 64 KiB for nothing costs less than a second call that holds the interpreter lock.
MAX_GAP_BYTES = 64 * 1024
MAX_CLIPS_A_CALL = 512  # each takes up to two of the 1024 buffers that Linux allows a call
TAR_BLOCK = 512


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
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()
        self._scratch = memoryview(bytearray(MAX_GAP_BYTES))
        _allow_open_files(len(manifest.file.shards))

    def read(self, clips: np.ndarray, starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fill rows (n, T) int16 from sample `starts` of each clip; shorter clips are repeated to fill their row.

        Returns (frames read before repeats (n,) int64, readable (n,) bool).
        """
        frames = np.minimum(self._frames[clips] - starts, rows.shape[1])
        valid = np.ones(len(clips), dtype=bool)
        flac = self._is_flac[clips]
        for row in np.flatnonzero(flac):
            valid[row] = self._read_flac(int(clips[row]), int(starts[row]), rows[row, : frames[row]])
        for run in self._runs(clips, starts, frames, np.flatnonzero(~flac)):
            self._read_run(run, clips, starts, frames, rows, valid)
        _repeat_short(rows, frames)
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

    def _file(self, shard: int) -> int:
        with self._lock:
            if shard not in self._files:
                path = self.manifest.root / self.manifest.file.shards[shard].file
                self._files[shard] = os.open(path, os.O_RDONLY)
            return self._files[shard]

    def _runs(self, clips: np.ndarray, starts: np.ndarray, frames: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
        """Row numbers grouped so that each group lies close together in one tar, in tar order."""
        begin = self._begin[clips[rows]] + 2 * starts[rows]
        shard = self._shard[clips[rows]]
        order = np.lexsort((begin, shard))
        gap = begin[order][1:] - (begin + 2 * frames[rows])[order][:-1]
        apart = (np.diff(shard[order]) != 0) | (gap > MAX_GAP_BYTES) | (gap < 0)
        groups = np.split(rows[order], np.flatnonzero(apart) + 1) if len(rows) else []
        return [g[at : at + MAX_CLIPS_A_CALL] for g in groups for at in range(0, len(g), MAX_CLIPS_A_CALL)]

    def _read_run(
        self,
        run: np.ndarray,
        clips: np.ndarray,
        starts: np.ndarray,
        frames: np.ndarray,
        rows: np.ndarray,
        valid: np.ndarray,
    ) -> None:
        begin = (self._begin[clips[run]] + 2 * starts[run]).tolist()
        size = (2 * frames[run]).tolist()
        buffers: list[memoryview] = []
        position = begin[0]
        for row, at, count in zip(run.tolist(), begin, size, strict=True):
            if at > position:
                buffers.append(self._scratch[: at - position])
            buffers.append(memoryview(rows[row, : count // 2]))  # type: ignore[arg-type]  # numpy stubs before 3.12
            position = at + count
        try:
            got = os.preadv(self._file(int(self._shard[clips[run[0]]])), buffers, begin[0])
            problem = "the tar ends before the clip does"
        except OSError as error:
            got, problem = -1, str(error)
        if got == position - begin[0]:
            return
        if len(run) > 1:  # find out which clip of the run it is
            for row in run:
                self._read_run(np.array([row]), clips, starts, frames, rows, valid)
            return
        self._mark_bad(int(clips[run[0]]), problem)
        rows[run[0]] = 0
        valid[run[0]] = False

    def _read_flac(self, clip: int, start: int, row: np.ndarray) -> bool:
        try:
            begin = int(self._begin[clip])
            data = os.pread(self._file(int(self._shard[clip])), int(self._size[clip]), begin)
            with soundfile.SoundFile(io.BytesIO(data)) as file:
                file.seek(start)
                if len(file.read(len(row), dtype="int16", out=row)) == len(row):
                    return True
                problem = "shorter than the table says"
        except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
            problem = str(error)
        self._mark_bad(clip, problem)
        row[:] = 0
        return False

    def _mark_bad(self, clip: int, problem: str) -> None:
        self.bad.setdefault(clip, problem)


def _repeat_short(rows: np.ndarray, frames: np.ndarray) -> None:
    for row in np.flatnonzero(frames < rows.shape[1]):
        count = int(frames[row])
        rows[row, count:] = np.resize(rows[row, :count], rows.shape[1] - count)


def _allow_open_files(count: int) -> None:
    """Raise the soft limit of open files where a set has more shards than it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
