"""Where the files of a set come from when they are elsewhere: http and https by httpx2, all else by fsspec.

httpx2 says which bytes came and waits no longer than it is told; fsspec's own http does neither and asks for aiohttp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

import fsspec
import httpx2

from asd.errors import UserError
from asd.files import http

BLOCK_BYTES = 8 << 20  # one request of fsspec's
AGENT = "asd-shards"


class PassingError(Exception):
    """Another try may succeed, after `wait_s` seconds at least."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class RefusedError(Exception):
    """There is no point in asking again."""


@dataclass(frozen=True)
class Answer:
    """Bytes of a file from `start` on."""

    start: int
    size: int | None  # of the whole file, where it is said
    chunks: Iterator[bytes]


class Remote(Protocol):
    """A folder elsewhere. Thread-safe."""

    def shown(self, name: str) -> str:
        """The address of a file in it for messages: without passwords and signatures."""

    def open(self, name: str, start: int) -> AbstractContextManager[Answer]:
        """Ask for a file from byte `start` on; the answer may begin at 0 all the same.

        It and its chunks raise PassingError and RefusedError.
        """

    def close(self) -> None:
        """Let go of connections."""


def open_remote(url: str) -> Remote:
    """The folder that a URL names. Raises UserError for a protocol that is unknown or lacks its package."""
    return _Http(url) if urlsplit(url).scheme in ("http", "https") else _Fsspec(url)


def _shown(url: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", url.partition("?")[0].partition("#")[0]).rstrip("/")


class _Http:
    def __init__(self, url: str) -> None:
        try:
            self._url = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise UserError(f"data.shards={_shown(url)} is no address: {error}") from None
        if not self._url.host:
            raise UserError(f"data.shards={_shown(url)} names no host: write it as https://host/folder")
        self._client = http.open_client(AGENT)

    def shown(self, name: str) -> str:
        return f"{_shown(str(self._url))}/{name}".rstrip("/")

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def open(self, name: str, start: int) -> Iterator[Answer]:
        url = self._url.copy_with(path=f"{self._url.path.rstrip('/')}/{name}")  # a signature stays behind the path
        try:
            with self._client.stream("GET", url, headers={"Range": f"bytes={start}-"} if start else {}) as response:
                if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    yield Answer(0, http.first_byte_and_size(response)[1], iter(()))
                    return
                response.raise_for_status()
                yield Answer(*http.first_byte_and_size(response), response.iter_raw())
        except httpx2.HTTPError as error:
            if http.may_pass(error):
                raise PassingError(http.describe(error), http.asked_to_wait(error)) from None
            raise RefusedError(http.describe(error)) from None


class _Fsspec:
    def __init__(self, url: str) -> None:
        self._shown = _shown(url)
        try:
            self._files, self._path = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise UserError(f"data.shards={self._shown} needs a package that is not here: {error}") from None
        except Exception as error:  # each protocol fails in its own way: unknown, no region, no key file
            raise UserError(f"data.shards={self._shown} cannot be opened: {error}") from None

    def shown(self, name: str) -> str:
        return f"{self._shown}/{name}".rstrip("/")

    def close(self) -> None:
        pass  # fsspec keeps its clients for the process

    @contextmanager
    def open(self, name: str, start: int) -> Iterator[Answer]:
        path = f"{self._path.rstrip('/')}/{name}"
        with _translated():
            size = int(self._files.info(path)["size"])
        yield Answer(min(start, size), size, self._chunks(path, start, size))

    def _chunks(self, path: str, start: int, size: int) -> Iterator[bytes]:
        for at in range(start, size, BLOCK_BYTES):
            with _translated():
                chunk = self._files.cat_file(path, start=at, end=min(at + BLOCK_BYTES, size))
            yield chunk


@contextmanager
def _translated() -> Iterator[None]:
    """Failures of any protocol's client as one of ours."""
    try:
        yield
    except FileNotFoundError:
        raise RefusedError("it is not there") from None
    except PermissionError as error:
        raise RefusedError(f"it may not be read ({error})") from None
    except Exception as error:  # botocore's, aiohttp's, paramiko's …, of no common kind
        raise PassingError(str(error) or type(error).__name__) from None
