"""HTTP with the retries and messages of this command."""

from __future__ import annotations

import json
import tempfile
import threading
from contextlib import closing
from io import FileIO
from typing import Any

import httpx2

from asd.errors import UserError
from asd.files.download import Downloader, NotFetchedError, Progress, Verify, Wanted
from asd.files.remote import open_remote

TRIES = 6  # in a row without any progress: half a minute of waiting in all
MAX_JSON_BYTES = 64 << 20
AGAIN = "run the same command again: it goes on from where it stopped"


def is_address(text: str) -> bool:
    """Whether it is a whole http or https address."""
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def download(url: str, out: FileIO, size: int, verify: Verify, progress: Progress) -> None:
    """Bring `out` to the whole file of that size, verified. Raises UserError after too many failures."""
    remedy = f"it was removed; look at the record on Zenodo, then {AGAIN}"
    _fetch(url, Wanted("", verify, remedy, size, 0, TRIES, progress), out)


def get_json(url: str) -> Any:
    """What the address answers, parsed. Raises UserError after too many failures, or where it is not JSON."""
    with tempfile.TemporaryFile(buffering=0) as out:
        _fetch(url, Wanted("", lambda _: None, "is --url the address of a Zenodo?", None, MAX_JSON_BYTES, TRIES), out)
        out.seek(0)
        try:
            return json.loads(out.read())
        except ValueError:
            raise UserError(f"{url} does not answer in JSON: is --url the address of a Zenodo?") from None


def _fetch(url: str, file: Wanted, out: FileIO) -> None:
    with closing(open_remote(url)) as remote:
        try:
            Downloader(remote, threading.Event()).fetch(file, out)  # a signal is an exception here: no stop event
        except NotFetchedError as error:
            raise UserError(str(error) if error.refused else f"{error}, then {AGAIN}") from None
