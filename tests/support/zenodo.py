"""A small Zenodo on this machine, with every fault that a download can meet."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.patience import PATIENCE_S


@dataclass
class Stored:
    """A file of a record and how it is served."""

    content: bytes
    ranges: bool = True  # else Range is ignored
    check_ranges: bool = False  # every Range is answered by 416
    shift: int = 0  # a range begins so many bytes late
    drops: list[int] = field(default_factory=list)  # of the next answers: the connection ends after so many bytes
    corrupt: int = 0  # so many of the next answers have a wrong last byte
    statuses: list[int] = field(default_factory=list)  # of the next answers
    stall_after: int | None = None  # bytes, then silence
    listed_size: int | None = None  # what the record says, where it is wrong
    chunked: bool = False  # no Content-Length

    @property
    def md5(self) -> str:
        return hashlib.md5(self.content).hexdigest()


class Zenodo:
    """`records[number][name]` is a file; `asked` are the requests, as (path, Range or None)."""

    def __init__(self) -> None:
        self.records: dict[int, dict[str, Stored]] = {}
        self.form = "current"
        self.answer: bytes | None = None  # of the API, instead of a record
        self.asked: list[tuple[str, str | None]] = []
        self.released = threading.Event()  # ends the silence of all
        self.url = ""

    def add(self, number: int, name: str, content: bytes) -> Stored:
        stored = self.records.setdefault(number, {})[name] = Stored(content)
        return stored

    def asked_files(self, name: str = "") -> list[str | None]:
        """The Range of every request for files whose name ends so."""
        return [wanted for path, wanted in self.asked if is_content(path) and name in path]

    def describe(self, number: int) -> dict[str, Any]:
        files = [describe_file(self, number, name, stored) for name, stored in self.records[number].items()]
        licence: Any = "cc-by-4.0" if self.form == "legacy" else {"id": "cc-by-4.0"}
        metadata = {"title": f"Recordings of {number}", "license": licence, "creators": [{"name": "Nobody"}]}
        return {"id": number, "doi": f"10.5281/zenodo.{number}", "metadata": metadata, "files": files}


def describe_file(zenodo: Zenodo, number: int, name: str, stored: Stored) -> dict[str, Any]:
    """As the API does: now; in the weeks after October 2023; before."""
    size = len(stored.content) if stored.listed_size is None else stored.listed_size
    about = f"{zenodo.url}/api/records/{number}/files/{name}"
    if zenodo.form == "late2023":
        return {"filename": name, "filesize": size, "checksum": stored.md5, "links": {"self": about}}
    link = f"{zenodo.url}/api/files/{number}/{name}" if zenodo.form == "legacy" else f"{about}/content"
    return {"id": "0", "key": name, "size": size, "checksum": f"md5:{stored.md5}", "links": {"self": link}}


def is_content(path: str) -> bool:
    return path.startswith("/api/files/") or path.endswith("/content")


@contextmanager
def serve(zenodo: Zenodo) -> Iterator[None]:
    class Handler(_Handler):
        site = zenodo

    with _Server(("127.0.0.1", 0), Handler) as server:
        zenodo.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            zenodo.released.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that has been stopped
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Zenodo

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path)
        self.site.asked.append((path, self.headers.get("Range")))
        try:
            self.respond(path)
        except ConnectionError:
            self.close_connection = True

    def respond(self, path: str) -> None:
        if self.site.answer is not None:
            return self.give(200, self.site.answer)
        if match := re.fullmatch(r"/api/records/(\d+)", path):
            number = int(match[1])
            known = number in self.site.records
            return self.give(200, json.dumps(self.site.describe(number)).encode()) if known else self.give(404)
        match = re.fullmatch(r"/api/records/(\d+)/files/([^/]+)/content|/api/files/(\d+)/([^/]+)", path)
        if match is None:
            return self.give(404)
        return self.give_file(self.site.records[int(match[1] or match[3])][match[2] or match[4]])

    def give(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def give_file(self, stored: Stored) -> None:
        if stored.statuses:
            return self.give(stored.statuses.pop(0), Retry_After="7")
        content, start, status = stored.content, 0, 200
        if stored.corrupt:
            stored.corrupt -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and stored.ranges:
            start, status = int(wanted[1]) + stored.shift, 206
            if stored.check_ranges or start >= len(content):
                return self.give(416, Content_Range=f"bytes */{len(content)}")
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if stored.chunked:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        return self.write(stored, content[start:])

    def write(self, stored: Stored, body: bytes) -> None:
        limit = stored.drops.pop(0) if stored.drops else len(body)
        if stored.stall_after is not None:
            self.wfile.write(body[: stored.stall_after])
            self.site.released.wait(PATIENCE_S)
            limit = 0
            body = b""
        self.wfile.write(body[:limit])
        self.close_connection = stored.chunked or limit < len(body) or stored.stall_after is not None


def zip_of(folder: Path, *tops: str) -> bytes:
    """The entries of a folder as an archive, compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and name.parts[0] in tops:
                archive.write(path, name)
    return buffer.getvalue()


def zip_holding(members: dict[str, bytes]) -> bytes:
    """An archive with exactly these names, whatever they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
