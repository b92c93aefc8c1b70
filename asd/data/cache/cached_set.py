"""A packed set from elsewhere in a folder of this node: each file is fetched once, when it is needed or before.

`<cache>/manifests` holds the newest manifest of each address, `<cache>/<name>-<fingerprint>` a set: manifest.json,
clips.parquet, and those tars that are here. Every tar there is whole and verified. Ranks and jobs share it at will
(asd.data.cache.shared_files says how).
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from io import FileIO
from pathlib import Path

import numpy as np

from asd.data.cache.prefetch import Prefetcher
from asd.data.cache.shared_files import cached_bytes, check_without_locks, make_room, open_shared, part_path, writing
from asd.data.manifest import (
    CLIPS_FILE,
    MANIFEST_FILE,
    ORIGIN_FILE,
    Manifest,
    ManifestFile,
    load_manifest,
    parse_manifest,
)
from asd.errors import UserError
from asd.files.download import START_TRIES, Downloader, NotFetchedError, Verify, Wanted
from asd.files.locks import lock
from asd.files.remote import open_remote

log = logging.getLogger(__name__)

GIB = 2**30
FRESH_S = 60.0  # a manifest this new is not asked for again: the ranks of a node start within it
MAX_BYTES = {MANIFEST_FILE: 256 << 20, CLIPS_FILE: 16 << 30}  # whatever the server sends
AHEAD_S = 3600.0  # after which a tar that was fetched ahead and not read is one like others
POLL_S = 0.2  # how soon the end of a run is noticed
FULL = (errno.ENOSPC, errno.EDQUOT)


def open_cached(url: str, root: Path, cache_gib: float | None) -> Manifest:
    """The set at a URL: its manifest and table are fetched, its tars will be.

    cache_gib: what all tars under `root` may take; None: no limit. Raises UserError where the set cannot be had, is no
    set, or does not fit.
    """
    root.mkdir(parents=True, exist_ok=True)
    check_without_locks(root)
    files = _Files(url, root, None if cache_gib is None else int(cache_gib * GIB))
    try:
        file, content = _newest_manifest(files, url)
        folder = root / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', file.name)[:64]}-{file.fingerprint[:16]}"
        folder.mkdir(exist_ok=True)
        files.put(folder / ORIGIN_FILE, files.shown("").encode() + b"\n")
        files.put(folder / MANIFEST_FILE, content)
        files.fetch(folder / CLIPS_FILE, file.clips_sha256, _is_packed(file.clips_sha256), tries=START_TRIES)
        manifest = load_manifest(folder)
        _check_small_cache(manifest, root, files.limit)
    except NotFetchedError as error:
        files.close()
        raise UserError(str(error)) from None
    except BaseException:
        files.close()
        raise
    return replace(manifest, tars=CachedTars(files, manifest))


def _newest_manifest(files: _Files, url: str) -> tuple[ManifestFile, bytes]:
    """The manifest of a URL; the one from before, with a warning, where nothing answers."""
    shown = files.shown(MANIFEST_FILE)
    folder = files.root / "manifests" / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST_FILE
    try:
        files.fetch(path, "", _is_manifest(shown), tries=START_TRIES, is_there=lambda: _is_fresh(path))
    except NotFetchedError as error:
        if error.refused or not path.exists():
            raise
        log.warning(f"{error}; using the manifest of an earlier run")
        os.utime(path)
    content = path.read_bytes()
    return parse_manifest(content, shown), content


def _is_fresh(path: Path) -> bool:
    return path.exists() and time.time() - path.stat().st_mtime < FRESH_S


def _is_manifest(shown: str) -> Verify:
    def verify(file: FileIO) -> str | None:
        file.seek(0)
        try:
            parse_manifest(file.read(), shown)
        except UserError as error:
            return str(error).removeprefix(f"{shown} ")
        return None

    return verify


def _is_packed(sha256: str) -> Verify:
    def verify(file: FileIO) -> str | None:
        file.seek(0)
        same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        return None if same else "is not what was packed (its sha256 differs)"

    return verify


def _check_small_cache(manifest: Manifest, root: Path, limit: int | None) -> None:
    """Before anything is fetched: the largest tar must fit under the limit, and what will come on the disk."""
    sizes = {shard.file: shard.bytes for shard in manifest.file.shards}
    largest = max(sizes.values(), default=0)
    if limit is not None and largest > limit:
        raise UserError(
            f"data.cache_gib={limit / GIB:.3g} holds no shard of {manifest.root.name}, whose largest has "
            f"{largest / GIB:.3g} GiB: raise it to several times that"
        )
    missing = sum(size for name, size in sizes.items() if not (manifest.root / name).exists())
    coming = missing if limit is None else min(missing, limit - cached_bytes(root))
    free = shutil.disk_usage(root).free
    if coming > free:
        raise UserError(
            f"{root} needs {coming / GIB:.2f} GiB for shards and {free / GIB:.2f} are free: free some space, name "
            "another data.cache_dir, or set data.cache_gib below that"
        )


class _Files:
    """Brings files of one place into folders of the cache, each of them once for all processes of the node."""

    def __init__(self, url: str, root: Path, limit: int | None) -> None:
        self.root, self.limit = root, limit
        self.stop = threading.Event()
        self._downloader = Downloader(open_remote(url), self.stop)
        self._warned = False

    def shown(self, name: str) -> str:
        return self._downloader.remote.shown(name)

    def close(self) -> None:
        self._downloader.remote.close()

    def put(self, path: Path, content: bytes) -> None:
        """Make `path` hold these bytes, unless it is there."""
        part = part_path(path, 0, "")
        with writing(part, path.exists, self.stop, wait=True) as out:
            if out is not None:
                out.truncate(0)
                out.write(content)
                os.fsync(out.fileno())
                part.rename(path)

    def fetch(
        self,
        path: Path,
        sha256: str,
        verify: Verify,
        size: int | None = None,
        tries: int | None = None,
        wait: bool = True,
        is_there: Callable[[], bool] | None = None,
    ) -> int | None:
        """A descriptor of the file at `path`, which came just now, under a shared lock.

        None where it is there, or on its way through another process and not to `wait` for. Raises NotFetchedError,
        also in those who waited for another process in vain.
        """
        asked_at, part = time.time(), part_path(path, size or 0, sha256)
        failure = path.with_name(f"{path.name}.failed")
        with writing(part, is_there or path.exists, self.stop, wait) as out:
            if out is None:
                return None
            _raise_failure(failure, asked_at)
            try:
                self._download(path, out, size, tries, verify)
            except NotFetchedError as error:
                failure.write_text(str(error), encoding="utf-8")
                raise
            if not wait:  # fetched ahead: else what was read a moment ago would stay, and this make room
                os.utime(out.fileno(), (asked_at, time.time() + AHEAD_S))
            part.rename(path)
            failure.unlink(missing_ok=True)
            lock(out.fileno(), shared=True)
            return os.dup(out.fileno())  # the lock is of both

    def _download(self, path: Path, out: FileIO, size: int | None, tries: int | None, verify: Verify) -> None:
        try:
            if self.limit is not None and size is not None:
                self._make_room(self.limit)
            wanted = Wanted(path.name, verify, "upload or pack it again", size, MAX_BYTES.get(path.name, 0), tries)
            self._downloader.fetch(wanted, out)
        except OSError as error:
            if error.errno not in FULL:
                raise
            told = f"no space left in {path.parent} for {path.name}: free some space, or set data.cache_gib"
            raise NotFetchedError(told) from None

    def _make_room(self, limit: int) -> None:
        over = make_room(self.root, limit)
        if over > 0 and not self._warned:
            self._warned = True
            told = f"data.cache_gib={limit / GIB:.3g} is too little for the shards that are read at once"
            log.warning(f"{told}: using {over / GIB:.3g} GiB more")


def _raise_failure(failure: Path, since: float) -> None:
    try:
        if failure.stat().st_mtime >= since:
            raise NotFetchedError(failure.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return


class CachedTars:
    """The tars of a cached set: there, on their way, or fetched by the first who reads them."""

    def __init__(self, files: _Files, manifest: Manifest) -> None:
        self.keep_open = files.limit is None
        self._files, self._folder, self._shards = files, manifest.root, manifest.file.shards
        self._shard_of = manifest.column("shard")
        self._failed: dict[
            int, str
        ] = {}  # so that a shard that cannot be had is waited for once an epoch, not per clip
        self._prefetcher = Prefetcher(manifest, files.shown(""), files.limit, self._bring)

    def open(self, shard: int) -> int:
        """A descriptor of the tar under a shared lock, fetched where it is not there. Raises NotFetchedError."""
        self._prefetcher.used(shard)
        path = self._path(shard)
        while (descriptor := open_shared(path)) is None:
            if shard in self._failed:
                raise NotFetchedError(self._failed[shard])
            try:
                fetched = self._fetch_or_leave(shard)
            except NotFetchedError as error:
                self._failed[shard] = str(error)
                raise
            if fetched is not None:
                return fetched
        return descriptor

    def expect(self, clips: np.ndarray) -> None:
        """Fetch in the background what these clips need, in this order; ask anew for what could not be had."""
        self._failed.clear()
        shards, first = np.unique(self._shard_of[clips], return_index=True)
        self._prefetcher.expect(shards[np.argsort(first)].tolist())

    def close(self) -> None:
        """End all waiting and fetching, for good; parts stay for the next time."""
        self._prefetcher.stop()
        self._files.stop.set()
        self._prefetcher.close()
        self._files.close()

    def _bring(self, shard: int) -> bool:
        """Fetch a tar unless another process does; whether it came just now."""
        descriptor = self._fetch(shard, wait=False)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def _fetch_or_leave(self, shard: int) -> int | None:
        """Fetch a tar in a thread of its own, which a server's silence keeps until the process ends; nobody else."""
        future: Future[int | None] = Future()
        threading.Thread(target=self._fetch_into, args=(future, shard), name="fetch", daemon=True).start()
        while not wait([future], timeout=POLL_S).done:
            if self._files.stop.is_set():
                raise NotFetchedError(f"{self._files.shown(self._shards[shard].file)}: cancelled, the run is stopping")
        return future.result()

    def _fetch_into(self, future: Future[int | None], shard: int) -> None:
        try:
            future.set_result(self._fetch(shard, wait=True))
        except BaseException as error:
            future.set_exception(error)

    def _fetch(self, shard: int, wait: bool) -> int | None:
        entry = self._shards[shard]
        return self._files.fetch(self._path(shard), entry.sha256, _is_packed(entry.sha256), entry.bytes, wait=wait)

    def _path(self, shard: int) -> Path:
        return self._folder / self._shards[shard].file
