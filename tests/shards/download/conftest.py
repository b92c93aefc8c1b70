"""A server that answers like Zenodo, and short waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asd.files import download as transfer
from asd.files import remote
from tests.support.downloads import DEV, FILE, noise
from tests.support.zenodo import Stored, Zenodo, serve, zip_holding


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Waits of milliseconds; no proxy between here and here."""
    monkeypatch.setattr(transfer, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(transfer, "MIN_PROGRESS", 1)
    monkeypatch.setattr(remote, "MAX_RETRY_AFTER_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def zenodo() -> Iterator[Zenodo]:
    site = Zenodo()
    with serve(site):
        yield site


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


@pytest.fixture
def stored(zenodo: Zenodo) -> Stored:
    """The development record with one archive, of 200,000 bytes that do not compress."""
    return zenodo.add(DEV, FILE, zip_holding({"fan/train/a.wav": noise(150_000), "fan/test/b.wav": noise(50_000, 1)}))
