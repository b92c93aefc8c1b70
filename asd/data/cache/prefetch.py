"""Shards ahead of their use, in the order in which the plan needs them, and a line now and then on how far it is."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from asd.data.manifest import Manifest
from asd.files.download import NotFetchedError

log = logging.getLogger(__name__)

THREADS = 2  # connections of a rank
PROGRESS_S = 10.0
REST_S = 60.0  # after a shard was given up for lack of answers
JOIN_S = 1.0  # a thread that waits for an answer goes with the process
GIB = 2**30


class Prefetcher:
    """Fetches expected shards in the background. Under a limit, what nobody has read yet takes up to half of it."""

    def __init__(self, manifest: Manifest, shown: str, limit: int | None, bring: Callable[[int], bool]) -> None:
        """bring: fetches a shard, unless it is there or on its way; whether it did."""
        self._manifest, self._shown, self._bring = manifest, shown, bring
        self._ahead = None if limit is None else limit // 2 // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self._order: list[int] = []  # what is to come, the next one last
        self._unused: dict[int, int] = {}  # bytes of what came, or is on its way, and was not asked for yet
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def expect(self, shards: Sequence[int]) -> None:
        """Shards by first use; what was expected before follows, and where there is no limit all others."""
        with self._changed:
            rest = list(reversed(self._order))
            rest += range(len(self._manifest.file.shards)) if self._ahead is None else []
            self._order = list(dict.fromkeys([*shards, *rest]))[::-1]
            self._unused = {shard: size for shard, size in self._unused.items() if shard in set(shards)}
            self._changed.notify_all()
        if not self._threads:
            self._start()

    def used(self, shard: int) -> None:
        """A shard is none that was fetched ahead any more: it is read now, or somebody else fetched it."""
        with self._changed:
            if self._unused.pop(shard, None) is not None:
                self._changed.notify_all()

    def stop(self) -> None:
        """Nothing more is to be fetched, and nothing more to be said."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End the threads; what they fetch just now ends by itself."""
        self.stop()
        for thread in self._threads:
            thread.join(JOIN_S)
        self._threads.clear()

    def _start(self) -> None:
        works: list[Callable[[], None]] = [self._fetch_all] * THREADS
        if os.environ.get("LOCAL_RANK", "0") == "0":
            works.append(partial(self._show, _Progress(self._manifest)))  # counts before the first one comes
        self._threads = [threading.Thread(target=work, name="prefetch", daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def _fetch_all(self) -> None:
        while (shard := self._next()) is not None:
            try:
                came = self._bring(shard)
            except NotFetchedError as error:
                self._give_up(shard, error)
                continue
            except InterruptedError:
                return
            if not came:
                self.used(shard)

    def _give_up(self, shard: int, error: NotFetchedError) -> None:
        """A shard that is refused is left to the reader, which will count its clips; silence may end."""
        self.used(shard)
        if self._stop.is_set():
            return
        if error.refused:
            log.warning(f"{error}; continuing with the other shards")
            return
        with self._changed:
            self._order.append(shard)
        log.warning(f"{error}; prefetch paused for {REST_S:g} s")
        self._stop.wait(REST_S)

    def _next(self) -> int | None:
        """The next shard once it may be fetched; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop.is_set() or (bool(self._order) and self._has_room()))
            if self._stop.is_set():
                return None
            shard = self._order.pop()
            self._unused[shard] = self._manifest.file.shards[shard].bytes
            return shard

    def _has_room(self) -> bool:
        following = self._manifest.file.shards[self._order[-1]].bytes
        return self._ahead is None or sum(self._unused.values()) + following <= self._ahead

    def _show(self, progress: _Progress) -> None:
        """Until each shard of the set has been here: how many, how fast, how long still."""
        if progress.count == progress.total:
            return
        told = f"fetching {progress.total - progress.count} of {progress.total} shards from {self._shown}"
        log.info(f"{told} into {self._manifest.root}")
        while not self._stop.wait(PROGRESS_S):
            if progress.look():
                log.info(progress.line())
            if progress.count == progress.total:
                return


class _Progress:
    """Counts shards that have been here, whichever process fetched them."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._seen: set[int] = set()
        self.total = len(manifest.file.shards)
        self.look()
        self._begin, self._bytes_before = time.monotonic(), self._bytes

    def look(self) -> bool:
        """Whether more have been here than before."""
        before, root = self.count, self._manifest.root
        missing = ((i, shard) for i, shard in enumerate(self._manifest.file.shards) if i not in self._seen)
        self._seen |= {i for i, shard in missing if (root / shard.file).exists()}
        return self.count > before

    @property
    def count(self) -> int:
        return len(self._seen)

    @property
    def _bytes(self) -> int:
        return sum(self._manifest.file.shards[i].bytes for i in self._seen)

    def line(self) -> str:
        """shards: 12 of 40 fetched, 3.07 of 10.2 GiB, 85.3 MiB/s, 0:01:23 left"""
        here, all_bytes = self._bytes, sum(shard.bytes for shard in self._manifest.file.shards)
        per_s = (here - self._bytes_before) / (time.monotonic() - self._begin)
        left = (
            f", {timedelta(seconds=round((all_bytes - here) / per_s))} left" if per_s > 0 and here < all_bytes else ""
        )
        return (
            f"shards: {self.count} of {self.total} fetched, {here / GIB:.3g} of {all_bytes / GIB:.3g} GiB, "
            f"{per_s / 2**20:.1f} MiB/s{left}"
        )
