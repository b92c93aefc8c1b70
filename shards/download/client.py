"""HTTP with patience: what may pass is tried again with growing waits, and what stays becomes one line."""

from __future__ import annotations

import sys
import time
from typing import Any

import httpx2

from asd.errors import UserError

TIMEOUT_S = 30.0  # without a byte
TRIES = 6  # in a row, without any progress
FIRST_WAIT_S = 1.0  # doubled after every failure: half a minute in all
LONGEST_WAIT_S = 60.0
PASSING = (408, 429, 500, 502, 503, 504)
AGAIN = "run the same command again: it goes on from where it stopped"


def open_client() -> httpx2.Client:
    # Identity: sizes, ranges and checksums are those of the file, not of a compressed transfer.
    headers = {"User-Agent": "asd-shards-download", "Accept-Encoding": "identity"}
    return httpx2.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=True)


def is_address(text: str) -> bool:
    """Whether it is a whole http or https address."""
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


class Patience:
    """Counts failures in a row of fetching one address."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._failures = 0

    def progressed(self) -> None:
        self._failures = 0

    def failed(self, error: httpx2.HTTPError) -> None:
        """Wait before the next try. Raises UserError where there is no point in one, or there were enough."""
        self._failures += 1
        if not _may_pass(error):
            raise UserError(f"{self._url}: {_describe(error)}; check --url, or look whether the record has moved")
        if self._failures >= TRIES:
            raise UserError(f"{self._url}: {_describe(error)}, {TRIES} times in a row; check the network, then {AGAIN}")
        wait_s = max(FIRST_WAIT_S * 2 ** (self._failures - 1), _asked_to_wait(error))
        print(f"{self._url}: {_describe(error)}; trying again in {wait_s:g} s", file=sys.stderr)
        time.sleep(wait_s)


def get_json(client: httpx2.Client, url: str) -> Any:
    """What the address answers, parsed. Raises UserError after too many failures, or where it is not JSON."""
    patience = Patience(url)
    while True:
        try:
            return client.get(url).raise_for_status().json()
        except httpx2.HTTPError as error:
            patience.failed(error)
        except ValueError:
            raise UserError(f"{url} does not answer in JSON: is --url the address of a Zenodo?") from None


def _may_pass(error: httpx2.HTTPError) -> bool:
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.status_code in PASSING
    return isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.UnsupportedProtocol)


def _asked_to_wait(error: httpx2.HTTPError) -> float:
    """Seconds of Retry-After, which a server that is asked too often sends."""
    if not isinstance(error, httpx2.HTTPStatusError):
        return 0.0
    text = error.response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT_S) if text.isdecimal() else 0.0


def _describe(error: httpx2.HTTPError) -> str:
    if isinstance(error, httpx2.HTTPStatusError):
        return f"HTTP {error.response.status_code} {error.response.reason_phrase}".strip()
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {TIMEOUT_S:g} s"
    return str(error) or type(error).__name__
