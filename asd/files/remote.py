"""Remote files: http and https by httpx2, other protocols by fsspec.

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

AGENT = "asd-shards"
TIMEOUT_S = 20.0  # without a byte
MAX_RETRY_AFTER_S = 60.0  # that a server may ask for
TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP statuses
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
BLOCK_BYTES = 8 << 20  # one request of fsspec's


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
    """A folder elsewhere, or one file, whose name in it is empty. Thread-safe."""

    def shown(self, name: str) -> str:
        """The address of a file in it for messages: without passwords and signatures."""

    def open(self, name: str, start: int) -> AbstractContextManager[Answer]:
        """Ask for a file from byte `start` on; the answer may begin at 0 all the same.

        It and its chunks raise PassingError and RefusedError.
        """

    def close(self) -> None:
        """Close connections."""


def open_remote(url: str) -> Remote:
    """What a URL names. Raises UserError for a protocol that is unknown or lacks its package."""
    return _Http(url) if urlsplit(url).scheme in ("http", "https") else _Fsspec(url)


def _shown(url: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", url.partition("?")[0].partition("#")[0]).rstrip("/")


class _Http:
    def __init__(self, url: str) -> None:
        try:
            self._url = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise UserError(f"data.shards={_shown(url)} is not a valid URL: {error}") from None
        if not self._url.host:
            raise UserError(f"data.shards={_shown(url)} names no host: write it as https://host/folder")
        # identity: sizes, ranges and checksums are those of the file, so it must come as it is.
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        self._client = httpx2.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=True)

    def shown(self, name: str) -> str:
        return f"{_shown(str(self._url))}/{name}".rstrip("/")

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def open(self, name: str, start: int) -> Iterator[Answer]:
        path = f"{self._url.path.rstrip('/')}/{name}" if name else self._url.path
        url = self._url.copy_with(path=path)  # a signature stays behind the path
        try:
            with self._client.stream("GET", url, headers={"Range": f"bytes={start}-"} if start else {}) as response:
                if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    yield Answer(0, _start_and_size(response)[1], iter(()))
                    return
                response.raise_for_status()
                yield Answer(*_start_and_size(response), response.iter_raw())
        except httpx2.HTTPStatusError as error:
            status = f"HTTP {error.response.status_code} {error.response.reason_phrase}".strip()
            if error.response.status_code not in TEMPORARY:
                raise RefusedError(status) from None
            asked = error.response.headers.get("Retry-After", "")
            raise PassingError(status, min(float(asked), MAX_RETRY_AFTER_S) if asked.isdecimal() else 0.0) from None
        except httpx2.TimeoutException:
            raise PassingError(f"no answer within {TIMEOUT_S:g} s") from None
        except httpx2.HTTPError as error:
            passes = isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.UnsupportedProtocol)
            raise (PassingError if passes else RefusedError)(str(error) or type(error).__name__) from None


def _start_and_size(response: httpx2.Response) -> tuple[int, int | None]:
    """Where in the file an answer begins, and the size of the whole file, None where it is not said.

    Raises PassingError where a part comes without saying which.
    """
    if response.status_code not in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return 0, _number(response.headers.get("Content-Length", "*"))
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return 0, _number(match[2]) if match else None
    if match is None or match[1] is None:
        raise PassingError("the response has no Content-Range")
    return int(match[1]), _number(match[2])


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


class _Fsspec:
    def __init__(self, url: str) -> None:
        self._shown = _shown(url)
        try:
            self._files, self._path = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise UserError(f"data.shards={self._shown} needs a package that is not installed: {error}") from None
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
