"""Sets from elsewhere: a real web server (nginx) and a real S3-compatible one."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec.asyn
import pytest

from asd.data.cache.cached_set import open_cached
from asd.errors import UserError
from asd.files import download
from tests.support.cached import TAR, failure, fetch, same_as
from tests.support.patience import PATIENCE_S, wait_for

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def nginx(small_set: Path, tmp_path: Path) -> Iterator[Nginx]:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    server = Nginx(small_set, tmp_path / "nginx")
    yield server
    server.stop()


class Nginx:
    """nginx that serves a copy of a set under /set."""

    def __init__(self, shards: Path, folder: Path) -> None:
        from tests.support.launch import free_port

        self.folder, self.port = folder, free_port()
        self.files = Path(shutil.copytree(shards, folder / "set"))
        self.url = f"http://127.0.0.1:{self.port}/set"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, limit_rate: str = "0") -> None:
        user = "user root;" if os.geteuid() == 0 else ""  # nobody may not read a test's folders
        temporary = " ".join(
            f"{kind}_temp_path {self.folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"{user} daemon off; master_process off; pid {self.folder}/pid; error_log {self.folder}/error.log;"
            "events {} http { " + temporary + f" access_log {self.folder}/access.log;"
            f" server {{ listen 127.0.0.1:{self.port}; root {self.folder}; limit_rate {limit_rate}; }} }}"
        )
        command = ["nginx", "-c", f"{self.folder}/nginx.conf", "-e", f"{self.folder}/error.log"]
        self._process = subprocess.Popen(command)
        wait_for((self.folder / "pid").exists)
        time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            (self.folder / "pid").unlink()
            self._process = None

    def asked(self, name: str) -> list[int]:
        """Status of every answer about a file."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [int(line.split('" ')[1].split()[0]) for line in lines if f"/{name} " in line]


def test_nginx_serves_a_set(nginx, opened, small_set):
    nginx.start()
    assert same_as(small_set, opened(nginx.url))
    assert nginx.asked(TAR) == [200]


def test_nginx_is_killed_while_it_answers_and_comes_back(nginx, opened, small_set):
    nginx.start(limit_rate="200k")
    manifest = opened(nginx.url)
    parts = f"{TAR}.*.part"
    download.FIRST_WAIT_S = download.MAX_WAIT_S = 0.3
    fetching = threading.Thread(target=fetch, args=(manifest,))
    fetching.start()
    wait_for(lambda: any(path.stat().st_size > 20_000 for path in manifest.root.glob(parts)))
    nginx.stop()
    nginx.start()
    fetching.join(PATIENCE_S)
    assert (manifest.root / TAR).read_bytes() == (small_set / TAR).read_bytes()
    assert nginx.asked(TAR)[-1] == 206


def test_nginx_has_a_tar_that_is_cut(nginx, opened):
    nginx.start()
    manifest = opened(nginx.url)
    with (nginx.files / TAR).open("r+b") as tar:
        tar.truncate(5000)
    assert "has 5,000 bytes where" in failure(manifest)


def test_nginx_has_a_tar_that_was_exchanged(nginx, opened):
    nginx.start()
    manifest = opened(nginx.url)
    with (nginx.files / TAR).open("r+b") as tar:
        tar.write(b"?")
    assert "is not what was packed" in failure(manifest)
    assert nginx.asked(TAR) == [200, 200]


@pytest.fixture(scope="module")
def s3(small_set: Path) -> Iterator[str]:
    """The set in a bucket of a real S3-compatible server."""
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**keys, "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}.items():
            patch.setenv(name, value)
        files = fsspec.filesystem("s3")
        files.mkdir("packed")
        for path in small_set.iterdir():
            files.put_file(str(path), f"packed/small/{path.name}")
        yield "s3://packed/small"
        end_clients(type(files))
    server.stop()


def end_clients(kind: type[fsspec.asyn.AsyncFileSystem]) -> None:
    """Close sessions and end the thread of fsspec's event loop: other tests count threads."""
    loop, thread = fsspec.asyn.loop[0], fsspec.asyn.iothread[0]
    for files in list(kind._cache.values()):
        asyncio.run_coroutine_threadsafe(files._s3creator.__aexit__(None, None, None), loop).result(10)
    kind.clear_instance_cache()
    gc.collect()
    asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    fsspec.asyn.loop[0] = fsspec.asyn.iothread[0] = None


def test_a_bucket(s3, opened, small_set):
    assert same_as(small_set, opened(s3))


def test_a_tar_that_is_missing_in_a_bucket(s3, opened, small_set):
    manifest = opened(s3)
    files = fsspec.filesystem("s3")
    files.rm_file(f"packed/small/{TAR}")
    try:
        assert failure(manifest) == f"{s3}/{TAR}: it is not there; check the address, and that it may be read"
    finally:
        files.put_file(str(small_set / TAR), f"packed/small/{TAR}")


def test_no_such_bucket(s3, tmp_path):
    with pytest.raises(UserError, match=r"s3://nobody/set/manifest.json: it is not there"):
        open_cached("s3://nobody/set", tmp_path, None)
