"""Sets from elsewhere: every fault of a server, and every way in which processes and limits meet in one cache."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import fsspec.asyn
import numpy as np
import pytest

from asd import web
from asd.data import cache, download, prefetch
from asd.data.cache import GIB, open_cached
from asd.data.cache_files import make_room, open_shared, part_path, writing
from asd.data.download import NotFetchedError
from asd.data.loader import training_requests
from asd.data.manifest import Manifest, load_manifest
from asd.data.plan import Stream, make_plan
from asd.data.reader import Reader
from asd.errors import UserError
from tests.data.site import Site, serve

_fork = multiprocessing.get_context("forkserver")
TAR = "train-000001.tar"


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """The waits between tries without their length, and no proxy before this machine."""
    monkeypatch.setattr(download, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(download, "LONGEST_WAIT_S", 0.001)
    monkeypatch.setattr(web, "LONGEST_WAIT_S", 0.001)
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


def tars(manifest: Manifest) -> cache.CachedTars:
    assert isinstance(manifest.tars, cache.CachedTars)
    return manifest.tars


def read_all(manifest: Manifest, seconds: float = 1.0) -> tuple[np.ndarray, np.ndarray, Reader]:
    """Samples (clips, T) of all clips, whether each was readable, and the reader."""
    clips = np.arange(len(manifest))
    rows = np.zeros((len(clips), round(seconds * manifest.sample_rate)), dtype=np.int16)
    reader = Reader(manifest)
    _, valid = reader.read(clips, np.zeros_like(clips), rows)
    reader.close()
    return rows, valid, reader


def same_as(local: Path, manifest: Manifest) -> bool:
    expected, found = read_all(load_manifest(local)), read_all(manifest)
    return bool(found[1].all()) and np.array_equal(expected[0], found[0])


def number_of(manifest: Manifest, name: str = TAR) -> int:
    return [shard.file for shard in manifest.file.shards].index(name)


def fetch(manifest: Manifest, name: str = TAR) -> Path:
    """One tar, through the same door as readers; where it lies."""
    os.close(tars(manifest).open(number_of(manifest, name)))
    return manifest.root / name


def failure(manifest: Manifest, name: str = TAR) -> str:
    with pytest.raises(NotFetchedError) as caught:
        fetch(manifest, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_comes_once_and_is_what_was_packed(site, opened, small_set):
    manifest = opened()
    assert [name for name, _ in site.asked] == ["manifest.json", "clips.parquet"]
    assert same_as(small_set, manifest)
    assert sorted(name for name, _ in site.asked) == sorted(["manifest.json", "clips.parquet", *site.tars])
    assert all((manifest.root / name).read_bytes() == (small_set / name).read_bytes() for name in site.tars)
    assert same_as(small_set, opened())
    assert len(site.asked) == 2 + len(site.tars)
    assert (manifest.root / "origin").read_text() == f"{site.url}\n"
    assert not [path for path in manifest.root.iterdir() if path.suffix in (".part", ".failed")]


def test_a_cached_set_can_be_opened_where_tars_are_missing(site, opened):
    assert len(load_manifest(opened().root)) == 128


def test_the_order_of_the_plan_is_the_order_of_fetching(site, opened, monkeypatch):
    monkeypatch.setattr(prefetch, "THREADS", 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    manifest = opened()
    train = manifest.select("train")
    plan = make_plan([Stream("all", train, 8)], seed=3, run_length=8)
    requests = training_requests(manifest, plan, 16_000, 0, 2, 0, 2)
    next(requests)  # nobody reads; all of it comes in the background, at last what training does not need
    wait_until(lambda: {name for name, _ in site.asked} >= set(site.tars))
    order = np.concatenate([step[:4] for step in plan.epoch(0)["all"][2:]])
    needed = [manifest.file.shards[i].file for i in dict.fromkeys(manifest.column("shard")[order].tolist())]
    others = [name for name in site.tars if name not in needed]
    assert [name for name, _ in site.asked[2:]] == needed + others


def test_reading_begins_before_all_is_here(site, opened, monkeypatch, small_set, capsys):
    monkeypatch.setattr(prefetch, "PROGRESS_S", 0.02)
    for name in site.tars[1:]:
        site.files[name].stall_after = 10
    manifest = opened()
    first = np.flatnonzero(manifest.column("shard") == 0)
    tars(manifest).expect(np.arange(len(manifest)))
    rows = np.zeros((len(first), 16_000), dtype=np.int16)
    reader = Reader(manifest)
    assert reader.read(first, np.zeros_like(first), rows)[1].all()
    for name in site.tars[1:]:
        site.files[name].stall_after = None
    site.released.set()
    wait_until(lambda: all((manifest.root / name).exists() for name in site.tars))
    said: list[str] = []
    count = len(site.tars)
    wait_until(lambda: said.append(capsys.readouterr().err) or f"shards: {count} of {count} fetched, " in "".join(said))
    assert f"fetching {count} of {count} shards from {site.url} into {manifest.root}" in said[0]
    reader.close()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_dropped_answer_is_continued(site, opened, small_set, capsys):
    site.files[TAR].drops = [1000, 5000]
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()
    assert site.ranges(TAR) == [None, "bytes=1000-", "bytes=6000-"]
    assert capsys.readouterr().err.count("trying again in ") == 2


@pytest.mark.parametrize("fault", [{"ranges": False}, {"refuse_ranges": True}])
def test_a_server_without_ranges_begins_again(site, opened, small_set, fault):
    site.files[TAR].drops = [1000]
    vars(site.files[TAR]).update(fault)
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()


def test_another_range_than_the_one_asked_for(site, opened, small_set):
    site.files[TAR].drops, site.files[TAR].shift = [1000], 7
    assert "bytes from 1007 came instead of those from 1000, 10 times in a row" in failure(opened())


def test_passing_errors_are_waited_out(site, opened, small_set, capsys):
    site.files[TAR].statuses = [500, 503, 429]
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()
    assert site.times(TAR) == 4
    assert "HTTP 503 Service Unavailable; trying again in" in capsys.readouterr().err


def test_errors_that_stay_end_after_a_number_of_tries(site, opened):
    manifest = opened()
    site.files[TAR].statuses = [503] * 100
    assert failure(manifest) == (
        f"{site.url}/{TAR}: HTTP 503 Service Unavailable, 10 times in a row; check the network and the server"
    )
    assert site.times(TAR) == 10
    failure(manifest)  # known by now: nobody is asked again in this epoch
    assert site.times(TAR) == 10


def test_once_a_server_is_down_others_are_tried_once(site, opened):
    manifest = opened()
    for name in site.tars:
        site.files[name].statuses = [503] * 10
    failure(manifest)
    failure(manifest, "train-000000.tar")
    assert site.times("train-000000.tar") == 1


def test_a_tar_that_is_not_there_costs_its_clips_alone(site, opened, small_set):
    del site.files[TAR]
    manifest = opened()
    rows, valid, reader = read_all(manifest)
    lost = manifest.column("shard") == number_of(manifest)
    assert np.array_equal(valid, ~lost)
    assert not rows[lost].any()
    assert set(reader.bad) == set(np.flatnonzero(lost))
    told = f"{site.url}/{TAR}: HTTP 404 Not Found; check the address, and that it may be read"
    assert set(reader.bad.values()) == {told}
    assert site.times(TAR) == 1


def test_what_could_not_be_had_is_asked_for_again_in_the_next_epoch(site, opened):
    manifest = opened()
    stored = site.files.pop(TAR)
    assert not read_all(manifest)[1].all()
    site.files[TAR] = stored
    tars(manifest).expect(np.arange(1))
    assert read_all(manifest)[1].all()


def test_wrong_content_is_fetched_again_once(site, opened, small_set, capsys):
    site.files[TAR].corrupt = 1
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()
    assert site.ranges(TAR) == [None, None]
    assert (
        "is not what was packed (its sha256 differs): upload or pack it again: fetching it again"
        in capsys.readouterr().err
    )


def test_wrong_content_twice_is_told(site, opened):
    site.files[TAR].corrupt = 5
    manifest = opened()
    told = f"{site.url}/{TAR} is not what was packed (its sha256 differs): upload or pack it again (fetched twice)"
    assert failure(manifest) == told
    assert site.times(TAR) == 2
    assert not (manifest.root / TAR).exists()


def test_an_answer_that_claims_to_be_whole_and_is_not(site, opened, small_set):
    site.files[TAR].cut = [4000]
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()


def test_a_tar_that_is_cut_on_the_server(site, opened):
    site.files[TAR].content = site.files[TAR].content[:4000]
    told = failure(opened())
    assert f"{TAR} has 4,000 bytes where the manifest says" in told
    assert site.times(TAR) == 2


def test_a_tar_that_grew_on_the_server(site, opened):
    site.files[TAR].content += b"?"
    site.files[TAR].chunked = True  # so that only the bytes themselves tell
    assert "has more than" in failure(opened())


def test_a_cut_answer_of_unknown_length(site, opened, small_set):
    site.files[TAR].chunked, site.files[TAR].drops = True, [3000]
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()
    assert site.ranges(TAR) == [None, "bytes=3000-"]


def test_silence(site, opened, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(download, "TRIES", 2)
    site.files[TAR].stall_after = 100
    assert "no answer within 0.05 s, 2 times in a row" in failure(opened())


def test_a_trickle(site, opened, monkeypatch):
    monkeypatch.setattr(download, "SLOW_S", 0.05)
    monkeypatch.setattr(download, "TRIES", 2)
    site.files[TAR].drip_s = 0.005
    assert re.search(r"only \d+ bytes came in 0.05 s, 2 times in a row", failure(opened()))


def test_no_manifest(site, opened, tmp_path):
    del site.files["manifest.json"]
    with pytest.raises(UserError, match=r"set/manifest.json: HTTP 404 Not Found; check the address, and that it may"):
        opened()


def test_a_page_instead_of_a_manifest(site, opened):
    site.files["manifest.json"].content = b"<html>please log in</html>"
    with pytest.raises(UserError, match=r"manifest.json is not a manifest of format 2: .*\(fetched twice\)$"):
        opened()
    assert site.times("manifest.json") == 2


def test_a_table_of_another_set(site, opened):
    site.files["clips.parquet"].content += b"?"
    with pytest.raises(UserError, match=r"clips.parquet is not what was packed"):
        opened()


def test_nobody_answers(tmp_path):
    with pytest.raises(
        UserError, match=r"http://127.0.0.1:9/set/manifest.json: .*, 4 times in a row; check the network"
    ):
        open_cached("http://127.0.0.1:9/set", tmp_path, None)


def test_the_manifest_from_before_where_nobody_answers(site, opened, monkeypatch, capsys):
    before = opened()
    fetch(before)
    monkeypatch.setattr(cache, "FRESH_S", 0.0)
    site.files["manifest.json"].statuses = [503] * 4
    manifest = opened()
    assert manifest.fingerprint == before.fingerprint
    assert "going on with its manifest from before" in capsys.readouterr().err
    fetch(manifest)
    assert site.times(TAR) == 1


def test_a_set_that_was_packed_again(site, opened, monkeypatch, uneven_set, small_set):
    first = opened()
    assert same_as(small_set, first)
    site.files = Site(uneven_set).files
    monkeypatch.setattr(cache, "FRESH_S", 0.0)
    second = opened()
    assert second.root != first.root
    assert second.fingerprint == load_manifest(uneven_set).fingerprint


def test_signatures_go_with_requests_and_stay_out_of_messages(site, opened):
    del site.files[TAR]
    manifest = opened(site.url.replace("http://", "http://me:secret@") + "?signature=hidden")
    assert site.queries == {"signature=hidden"}
    told = failure(manifest) + (manifest.root / "origin").read_text()
    assert "secret" not in told
    assert "hidden" not in told


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("dropbox://folder", "needs a package that is not here: .*[dD]ropbox"),
        ("nonsense://folder", "cannot be opened: Protocol not known: nonsense"),
        ("https:///folder", "names no host"),
        ("memory://no/such/set", "manifest.json: it is not there; check the address"),
    ],
)
def test_addresses_that_lead_nowhere(tmp_path, url, said):
    with pytest.raises(UserError, match=said):
        open_cached(url, tmp_path, None)


def test_any_protocol_of_fsspec(opened, small_set, monkeypatch):
    monkeypatch.setattr("asd.data.remote.BLOCK_BYTES", 100_000)
    memory = fsspec.filesystem("memory")
    memory.put(f"{small_set}/", "/packed/", recursive=True)
    assert same_as(small_set, opened("memory://packed"))
    assert same_as(small_set, opened(f"file://{small_set}"))


def fetch_in_process(url: str, root: str, name: str) -> None:
    manifest = open_cached(url, Path(root), None)
    Path(root, f"ready-{os.getpid()}").touch()
    fetch(manifest, name)


def in_processes(count: int, *arguments: str) -> list[multiprocessing.process.BaseProcess]:
    processes = [_fork.Process(target=fetch_in_process, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    return processes


def test_processes_that_want_the_same_at_once_fetch_it_once(site, tmp_path, small_set):
    site.files[TAR].stall_after = 1000  # until all of them wait for it
    processes = in_processes(3, site.url, str(tmp_path), TAR)
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 3 and list(tmp_path.glob(f"*/{TAR}.*.part")))
    time.sleep(0.2)
    site.files[TAR].stall_after = None
    site.released.set()  # that answer ends here, and is continued
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 3
    assert site.ranges(TAR) == [None, "bytes=1000-"]
    assert site.times("manifest.json") == site.times("clips.parquet") == 1


def test_what_a_killed_process_began_goes_on_in_another(site, tmp_path, small_set, opened):
    site.files[TAR].stall_after = 50_000
    (process,) = in_processes(1, site.url, str(tmp_path / "cache"), TAR)
    wait_until(lambda: any(path.stat().st_size == 50_000 for path in tmp_path.glob(f"cache/*/{TAR}.*.part")))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    site.files[TAR].stall_after = None
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()
    assert site.ranges(TAR) == [None, "bytes=50000-"]


def test_who_waited_for_another_in_vain_does_not_try_as_long_again(site, opened):
    manifests = [opened(), opened()]
    site.files[TAR].stall_after = 10
    failures: list[str] = []
    threads = [threading.Thread(target=lambda m=m: failures.append(failure(m))) for m in manifests]
    for thread in threads:
        thread.start()
    wait_until(lambda: site.times(TAR))
    time.sleep(0.1)
    site.files[TAR].statuses = [404] * 5
    site.files[TAR].stall_after = None
    site.released.set()
    for thread in threads:
        thread.join()
    assert len(set(failures)) == 1
    assert "404" in failures[0]
    assert site.times(TAR) == 2


# limits


def bytes_under(cached: Path) -> int:
    """What tars and beginnings of tars take just now."""
    found = 0
    for path in [*cached.glob("*/*.tar"), *cached.glob("*/*.tar.*.part")]:
        with suppress(FileNotFoundError):  # evicted, or renamed
            found += path.stat().st_size
    return found


def test_least_recently_used_shards_make_room(site, opened, small_set, tmp_path):
    sizes = {name: len(site.files[name].content) for name in site.tars}
    first, second, third, *_ = sorted(sizes, key=lambda name: -sizes[name])
    manifest = opened(gib=(sizes[first] + sizes[second]) / GIB)
    for name in (first, second, first):
        fetch(manifest, name)
        time.sleep(0.02)
    fetch(manifest, third)
    assert {path.name for path in manifest.root.glob("*.tar")} == {first, third}
    assert site.times(first) == site.times(second) == 1


def test_a_set_larger_than_the_cache_is_read_as_well(site, opened, small_set, tmp_path, capsys):
    largest = max(len(site.files[name].content) for name in site.tars)
    most, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.001):
            most = max(most, bytes_under(tmp_path / "cache"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    manifest = opened(gib=1.5 * largest / GIB)
    tars(manifest).expect(np.arange(len(manifest)))
    for _ in range(3):
        assert same_as(small_set, manifest)
    ended.set()
    watcher.join()
    assert largest <= most <= 1.5 * largest
    assert "is too little" not in capsys.readouterr().err
    assert not any(path.suffix == ".part" for path in manifest.root.iterdir())


def test_a_tar_that_is_open_is_not_evicted_and_the_limit_gives_way(site, opened, small_set, capsys):
    sizes = {name: len(site.files[name].content) for name in site.tars}
    manifest = opened(gib=1.2 * max(sizes.values()) / GIB)
    first, second = sorted(sizes, key=lambda name: -sizes[name])[:2]
    held = tars(manifest).open(number_of(manifest, first))
    fetch(manifest, second)
    assert {path.name for path in manifest.root.glob("*.tar")} == {first, second}
    assert "is too little for the shards that are read at once" in capsys.readouterr().err
    os.close(held)
    fetch(manifest, next(name for name in site.tars if name not in (first, second)))
    assert first not in {path.name for path in manifest.root.glob("*.tar")}


def test_an_evicted_tar_does_not_come_back_to_life(tmp_path):
    """Whoever opened a tar just before it was evicted does not take it for one that is there."""
    path = tmp_path / "set" / "a.tar"
    path.parent.mkdir()
    path.write_bytes(b"x" * 100)
    held = open_shared(path)
    assert held is not None
    assert make_room(tmp_path, 50) == 50
    os.close(held)
    assert make_room(tmp_path, 50) == 0
    assert open_shared(path) is None


def test_beginnings_count_in_full_and_make_room_once_nobody_writes_them(tmp_path):
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / "a.tar"
    part = part_path(path, 1000, "0123456789")
    with writing(part, path.exists, threading.Event(), wait=False) as out:
        assert out is not None
        assert make_room(tmp_path, 400) == 600
        with writing(part, path.exists, threading.Event(), wait=False) as other:
            assert other is None
    assert make_room(tmp_path, 400) == 0
    assert not part.exists()


def test_a_cache_smaller_than_a_shard(site, opened):
    with pytest.raises(UserError, match=r"data.cache_gib=9.99e-07 holds no shard of shards-\w+, whose largest has"):
        opened(gib=1e-6)
    assert len(site.asked) == 2


def test_a_disk_smaller_than_the_set(site, opened, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(UserError, match=r"GiB of shards are to come into .* make room, name another data.cache_dir"):
        opened()


def test_a_disk_that_fills_up(site, opened, monkeypatch):
    def full(file: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    manifest = opened()
    monkeypatch.setattr(download, "_write_all", full)
    assert "no space left in" in failure(manifest)


def test_the_end_of_a_run_does_not_wait_for_a_tar(site, opened):
    for name in site.tars:
        site.files[name].statuses = [503] * 1000
    manifest = opened()
    download.FIRST_WAIT_S = download.LONGEST_WAIT_S = 60.0
    problems: list[str] = []
    reading = threading.Thread(target=lambda: problems.append(failure(manifest)))
    reading.start()
    wait_until(lambda: len(site.asked) > 2)  # the reader waits for its tar
    tars(manifest).expect(np.arange(len(manifest)))
    tars(manifest).close()
    reading.join(60)
    assert "the run ends before it came" in problems[0]


# a real web server


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
        from tests.system.launch import free_port

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
        wait_until((self.folder / "pid").exists)
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
    download.FIRST_WAIT_S = download.LONGEST_WAIT_S = 0.3
    fetching = threading.Thread(target=fetch, args=(manifest,))
    fetching.start()
    wait_until(lambda: any(path.stat().st_size > 20_000 for path in manifest.root.glob(parts)))
    nginx.stop()
    nginx.start()
    fetching.join(20)
    assert (manifest.root / TAR).read_bytes() == (small_set / TAR).read_bytes()
    assert nginx.asked(TAR)[-1] == 206


def test_nginx_has_a_tar_that_is_cut(nginx, opened):
    nginx.start()
    manifest = opened(nginx.url)
    with (nginx.files / TAR).open("r+b") as tar:
        tar.truncate(5000)
    assert "has 5,000 bytes where the manifest says" in failure(manifest)


def test_nginx_has_a_tar_that_was_exchanged(nginx, opened):
    nginx.start()
    manifest = opened(nginx.url)
    with (nginx.files / TAR).open("r+b") as tar:
        tar.write(b"?")
    assert "is not what was packed" in failure(manifest)
    assert nginx.asked(TAR) == [200, 200]


# S3


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
