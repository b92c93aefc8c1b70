"""Training on shards from elsewhere, by two ranks that share a cache: the losses are those of the local folder."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import train_ddp
from asd.files import download, remote
from tests.end_to_end.test_bad_input import refused
from tests.support.hooks import no_scoring
from tests.support.inline import score_inline, score_run
from tests.support.launch import losses, records, run, succeed, train_words
from tests.support.site import Site, serve

GIB = 2**30
LOCAL = {"NO_PROXY": "127.0.0.1"}


@pytest.fixture
def site(small_set: Path) -> Iterator[Site]:
    found = Site(small_set)
    with serve(found):
        yield found


@pytest.fixture(scope="module")
def local_losses(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    place = tmp_path_factory.mktemp("local")
    succeed(place / "log", train_words(small_set, place / "run"), ranks=2, prepare=no_scoring)
    return losses(place / "run")


def without_patience() -> None:
    """No scoring, and hardly a wait between tries."""
    no_scoring()
    download.FIRST_WAIT_S = remote.MAX_RETRY_AFTER_S = 0.01


def bad_clips(folder: Path) -> int:
    """As the last line of training has it."""
    return [record["bad_clips"] for record in records(folder) if "loss" in record][-1]


def words(site: Site, tmp_path: Path, *more: str) -> list[str]:
    """The command line of the tiny run on the site's set."""
    return [
        *train_words(Path("none"), tmp_path / "run"),
        f"data.shards={site.url}",
        f"data.cache_dir={tmp_path / 'cache'}",
        *more,
    ]


def test_two_ranks_share_a_cache_whatever_the_server_does(
    site: Site, tmp_path: Path, local_losses: dict[int, float]
) -> None:
    """Every tar meets a fault; the last one, test clips, comes only after a step was taken. The losses do not tell."""
    faults = [{"drops": [5000]}, {"statuses": [503]}, {"corrupt": 1}, {"cut": [700]}, {"chunked": True, "drops": [900]}]
    for name, fault in zip(site.tars, faults, strict=False):
        vars(site.files[name]).update(fault)
    last = site.files[site.tars[-1]]
    last.stall_after = 1000
    folder = tmp_path / "run"

    def release() -> None:
        while not (folder / "metrics.jsonl").exists() or not losses(folder):
            if site.released.wait(0.02):
                return
        last.stall_after = None
        site.released.set()

    releasing = threading.Thread(target=release, daemon=True)
    releasing.start()
    done = succeed(tmp_path / "log", words(site, tmp_path), ranks=2, prepare=without_patience, env=LOCAL)
    releasing.join()
    assert losses(folder) == local_losses
    assert [site.times(name) for name in ("manifest.json", "clips.parquet", *site.tars)] == [
        1,
        1,
        *[2] * len(site.tars),
    ]
    told = rf"fetching \d of {len(site.tars)} shards from {site.url}"  # the other rank may have begun
    assert re.search(told, done.out[0])
    asked = len(site.asked)
    again = [*words(site, tmp_path), f"run.dir={tmp_path / 'again'}"]
    assert succeed(tmp_path / "log", again, ranks=2, prepare=no_scoring, env=LOCAL).err == ["", ""]
    assert losses(tmp_path / "again") == local_losses
    assert len(site.asked) == asked


def test_a_set_larger_than_the_cache(site: Site, tmp_path: Path, local_losses: dict[int, float]) -> None:
    sizes = [len(site.files[name].content) for name in site.tars]
    limit = 2 * max(sizes) + 1000
    assert limit < 0.7 * sum(sizes)
    most, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.002):
            most = max(most, sum(len(list((tmp_path / "cache").glob(f"*/{name}"))) for name in site.tars))

    watcher = threading.Thread(target=watch)
    watcher.start()
    more = [f"data.cache_gib={limit / GIB}", "data.threads=1"]
    succeed(tmp_path / "log", words(site, tmp_path, *more), ranks=2, prepare=no_scoring, env=LOCAL)
    ended.set()
    watcher.join()
    assert losses(tmp_path / "run") == local_losses
    assert all(site.times(name) >= 1 for name in site.tars)
    assert sum(map(site.times, site.tars)) > len(site.tars), "nothing had to be fetched twice"
    assert 1 <= most < len(site.tars)
    assert bad_clips(tmp_path / "run") == 0


def test_a_shard_that_cannot_be_had_is_counted(site: Site, tmp_path: Path) -> None:
    name = site.tars[1]
    lost = json.loads(site.files["manifest.json"].content)["shards"][1]["clips"]
    del site.files[name]
    more = ["train.max_bad_fraction=0.9"]
    done = succeed(tmp_path / "log", words(site, tmp_path, *more), ranks=2, prepare=no_scoring, env=LOCAL)
    bad = bad_clips(tmp_path / "run")
    assert 0.5 * lost < bad <= lost
    assert f"UNREADABLE CLIPS {bad}" in done.out[0]
    assert any(f"{name}: HTTP 404 Not Found" in said for said in done.err)


def test_no_manifest(site: Site, tmp_path: Path) -> None:
    del site.files["manifest.json"]
    line = refused(run(tmp_path / "log", words(site, tmp_path), ranks=2, env=LOCAL))
    assert line == f"error: {site.url}/manifest.json: HTTP 404 Not Found; check the address, and that it may be read"
    assert not (tmp_path / "run").exists()


def test_scoring_under_a_limit(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test clips are fetched, too, and tars of training clips make room."""
    limit = 2.5 * max(len(site.files[name].content) for name in site.tars) / GIB
    more = [f"data.cache_gib={limit}", "data.threads=1", "evaluate.scorers=[{name: centroid}]"]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(words(site, tmp_path, *more)) == 0
    out = score_run(tmp_path / "run", tmp_path / "out")
    report = json.loads((out / "report.json").read_text())
    assert report["unreadable_clips"] == 0
    assert report["test"]["clips"] == 32
    assert {path.name for path in (tmp_path / "cache").glob("*/*.tar")} < set(site.tars)
