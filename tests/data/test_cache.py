"""Sets from elsewhere: what is fetched when, by whom, and from which addresses."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest

from asd.data.cache import cached_set, prefetch
from asd.data.cache.cached_set import open_cached
from asd.data.loader import training_requests
from asd.data.manifest import load_manifest
from asd.data.plan import Stream, make_plan
from asd.data.reader import Reader
from asd.errors import UserError
from tests.support.cached import TAR, calls_under_way, failure, fetch, same_as, tars
from tests.support.patience import PATIENCE_S, wait_for
from tests.support.site import Site

pytestmark = pytest.mark.usefixtures("quick")
_fork = multiprocessing.get_context("forkserver")


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
    wait_for(lambda: {name for name, _ in site.asked} >= set(site.tars))
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
    wait_for(lambda: all((manifest.root / name).exists() for name in site.tars))
    said: list[str] = []
    count = len(site.tars)
    wait_for(lambda: said.append(capsys.readouterr().out) or f"shards: {count} of {count} fetched, " in "".join(said))
    assert f"fetching {count} of {count} shards from {site.url} into {manifest.root}" in said[0]
    reader.close()


def test_no_manifest(site, opened, tmp_path):
    del site.files["manifest.json"]
    with pytest.raises(UserError, match=r"set/manifest.json: HTTP 404 Not Found; check the address, and that it may"):
        opened()


def test_a_page_instead_of_a_manifest(site, opened):
    site.files["manifest.json"].content = b"<html>please log in</html>"
    with pytest.raises(
        UserError,
        match=r"manifest.json is not a manifest of format 2 to 5: .*\(downloaded twice\): upload or pack it again$",
    ):
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
    monkeypatch.setattr(cached_set, "FRESH_S", 0.0)
    site.files["manifest.json"].statuses = [503] * 4
    manifest = opened()
    assert manifest.fingerprint == before.fingerprint
    assert "using the manifest of an earlier run" in capsys.readouterr().err
    fetch(manifest)
    assert site.times(TAR) == 1


def test_a_set_that_was_packed_again(site, opened, monkeypatch, uneven_set, small_set):
    first = opened()
    assert same_as(small_set, first)
    site.files = Site(uneven_set).files
    monkeypatch.setattr(cached_set, "FRESH_S", 0.0)
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
        ("dropbox://folder", "needs a package that is not installed: .*[dD]ropbox"),
        ("nonsense://folder", "cannot be opened: Protocol not known: nonsense"),
        ("https:///folder", "names no host"),
        ("memory://no/such/set", "manifest.json: it is not there; check the address"),
    ],
)
def test_addresses_that_lead_nowhere(tmp_path, url, said):
    with pytest.raises(UserError, match=said):
        open_cached(url, tmp_path, None)


def test_any_protocol_of_fsspec(opened, small_set, monkeypatch):
    monkeypatch.setattr("asd.files.remote.BLOCK_BYTES", 100_000)
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
    wait_for(lambda: len(list(tmp_path.glob("ready-*"))) == 3 and list(tmp_path.glob(f"*/{TAR}.*.part")))
    time.sleep(0.2)
    site.files[TAR].stall_after = None
    site.released.set()  # that answer ends here, and is continued
    for process in processes:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in processes] == [0] * 3
    assert site.ranges(TAR) == [None, "bytes=1000-"]
    assert site.times("manifest.json") == site.times("clips.parquet") == 1


def test_what_a_killed_process_began_goes_on_in_another(site, tmp_path, small_set, opened):
    site.files[TAR].stall_after = 50_000
    (process,) = in_processes(1, site.url, str(tmp_path / "cache"), TAR)
    wait_for(lambda: any(path.stat().st_size == 50_000 for path in tmp_path.glob(f"cache/*/{TAR}.*.part")))
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
    wait_for(lambda: site.times(TAR) and calls_under_way("_take") == 1)  # the other one waits for it
    site.files[TAR].statuses = [404] * 5
    site.files[TAR].stall_after = None
    site.released.set()
    for thread in threads:
        thread.join()
    assert len(set(failures)) == 1
    assert "404" in failures[0]
    assert site.times(TAR) == 2
