"""What both kinds of fetching over HTTP share: a client, which bytes came, and which failures may pass."""

from __future__ import annotations

import re
from http import HTTPStatus

import httpx2

TIMEOUT_S = 20.0  # without a byte
MAX_WAIT_S = 60.0  # that a server may ask for
PASSING = (408, 429, 500, 502, 503, 504)
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


def open_client(agent: str) -> httpx2.Client:
    """A client of that name. Its answers come as they are: sizes, ranges and checksums are those of the file."""
    headers = {"User-Agent": agent, "Accept-Encoding": "identity"}
    return httpx2.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=True)


def first_byte_and_size(response: httpx2.Response) -> tuple[int, int | None]:
    """Where in the file an answer begins, and the size of the whole file, None where it is not said.

    Raises httpx2.RemoteProtocolError where a part comes without saying which.
    """
    if response.status_code not in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return 0, _number(response.headers.get("Content-Length", "*"))
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return 0, _number(match[2]) if match else None
    if match is None or match[1] is None:
        raise httpx2.RemoteProtocolError("it is not said which bytes came")
    return int(match[1]), _number(match[2])


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def may_pass(error: httpx2.HTTPError) -> bool:
    """Whether there is a point in asking again."""
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.status_code in PASSING
    return isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.UnsupportedProtocol)


def asked_to_wait(error: httpx2.HTTPError) -> float:
    """Seconds of Retry-After, which a server that is asked too often sends."""
    if not isinstance(error, httpx2.HTTPStatusError):
        return 0.0
    text = error.response.headers.get("Retry-After", "")
    return min(float(text), MAX_WAIT_S) if text.isdecimal() else 0.0


def describe(error: httpx2.HTTPError) -> str:
    """A few words on what happened."""
    if isinstance(error, httpx2.HTTPStatusError):
        return f"HTTP {error.response.status_code} {error.response.reason_phrase}".strip()
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {TIMEOUT_S:g} s"
    return str(error) or type(error).__name__
