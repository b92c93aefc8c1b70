"""A web server on this machine with a packed set, and with every fault that fetching can meet."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.support.zenodo import Stored, _Handler, _Server


@dataclass
class Faulty(Stored):
    """Beside the faults of `Stored`, each gone once it was shown unless said otherwise."""

    cut: list[int] = field(default_factory=list)  # of the next answers: they claim that the file ends there
    drip_s: float = 0.0  # a byte, then so long a pause, always


class Site:
    """`files[name]` is served as `<url>/name`; `asked` are the requests, as (name, Range or None)."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: Faulty(path.read_bytes()) for path in sorted(folder.iterdir())}
        self.tars = [shard["file"] for shard in json.loads(self.files["manifest.json"].content)["shards"]]
        self.asked: list[tuple[str, str | None]] = []
        self.queries: set[str] = set()
        self.released = threading.Event()  # ends the silence of all
        self.url = ""

    def times(self, name: str) -> int:
        """How often a file was asked for."""
        return sum(asked == name for asked, _ in self.asked)

    def ranges(self, name: str) -> list[str | None]:
        return [wanted for asked, wanted in self.asked if asked == name]


@contextmanager
def serve(site: Site, port: int = 0) -> Iterator[None]:
    """The site under <url>, until the block ends."""

    class SetHandler(_SetHandler):
        pass

    SetHandler.set = site
    SetHandler.site = site  # type: ignore[assignment]  # the silence is released there
    with _Server(("127.0.0.1", port), SetHandler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}/set"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            site.released.set()
            server.shutdown()
            thread.join()


class _SetHandler(_Handler):
    set: Site

    def respond(self, path: str) -> None:
        parts = urlsplit(self.path)
        name = unquote(parts.path).removeprefix("/set/")
        self.set.queries.add(parts.query)
        self.set.asked.append((name, self.headers.get("Range")))
        if name not in self.set.files:
            return self.give(404)
        return self.give_file(self.set.files[name])

    def do_GET(self) -> None:  # noqa: N802
        try:
            self.respond(self.path)
        except ConnectionError:
            self.close_connection = True

    def give_file(self, stored: Stored) -> None:
        assert isinstance(stored, Faulty)
        if stored.cut:
            return self.give(200, stored.content[: stored.cut.pop(0)])
        return super().give_file(stored)

    def write(self, stored: Stored, body: bytes) -> None:
        assert isinstance(stored, Faulty)
        if not stored.drip_s:
            stalls = stored.stall_after is not None
            super().write(stored, body)
            self.close_connection |= stalls
            return
        for at in range(len(body)):
            self.wfile.write(body[at : at + 1])
            if self.set.released.wait(stored.drip_s):
                return
