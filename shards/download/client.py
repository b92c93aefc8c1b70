"""HTTP with patience: what may pass is tried again with growing waits, and what stays becomes one line."""

from __future__ import annotations

import sys
import time
from typing import Any

import httpx2

from asd.errors import UserError
from asd.files import http

TRIES = 6  # in a row, without any progress
FIRST_WAIT_S = 1.0  # doubled after every failure: half a minute in all
AGAIN = "run the same command again: it goes on from where it stopped"


def open_client() -> httpx2.Client:
    return http.open_client("asd-shards-download")


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
        told = f"{self._url}: {http.describe(error)}"
        if not http.may_pass(error):
            raise UserError(f"{told}; check --url, or look whether the record has moved")
        if self._failures >= TRIES:
            raise UserError(f"{told}, {TRIES} times in a row; check the network, then {AGAIN}")
        wait_s = max(FIRST_WAIT_S * 2 ** (self._failures - 1), http.asked_to_wait(error))
        print(f"{told}; trying again in {wait_s:g} s", file=sys.stderr)
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
