"""A set on a web server, and the cache that it is opened through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asd.data.cache.cached_set import open_cached
from asd.data.manifest import Manifest
from asd.files import download, remote
from tests.support.cached import tars
from tests.support.site import Site, serve


@pytest.fixture
def quick(monkeypatch) -> None:
    """The waits between tries without their length, and no proxy before this machine."""
    monkeypatch.setattr(download, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(download, "MAX_WAIT_S", 0.001)
    monkeypatch.setattr(remote, "MAX_RETRY_AFTER_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def site(small_set: Path) -> Iterator[Site]:
    found = Site(small_set)
    with serve(found):
        yield found


@pytest.fixture
def opened(site: Site, tmp_path: Path) -> Iterator[Callable[..., Manifest]]:
    """Opens the site's set, or another URL, in one cache; what it opened is closed at the end."""
    manifests: list[Manifest] = []

    def open_set(url: str | None = None, gib: float | None = None) -> Manifest:
        manifests.append(open_cached(url or site.url, tmp_path / "cache", gib))
        return manifests[-1]

    yield open_set
    for manifest in manifests:
        tars(manifest).close()
