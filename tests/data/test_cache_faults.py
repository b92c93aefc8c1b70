"""Sets from elsewhere: every fault of a server."""

from __future__ import annotations

import re

import numpy as np
import pytest

from asd.files import download, remote
from tests.support.cached import TAR, failure, fetch, number_of, read_all, tars

pytestmark = pytest.mark.usefixtures("quick")


def test_a_dropped_answer_is_continued(site, opened, small_set, capsys):
    site.files[TAR].drops = [1000, 5000]
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()
    assert site.ranges(TAR) == [None, "bytes=1000-", "bytes=6000-"]
    assert capsys.readouterr().err.count("trying again in ") == 2


@pytest.mark.parametrize("fault", [{"ranges": False}, {"check_ranges": True}])
def test_a_server_without_ranges_begins_again(site, opened, small_set, fault):
    site.files[TAR].drops = [1000]
    vars(site.files[TAR]).update(fault)
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()


def test_another_range_than_the_one_asked_for(site, opened, small_set, capsys):
    site.files[TAR].drops, site.files[TAR].shift = [1000], 7
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()
    assert site.ranges(TAR) == [None, "bytes=1000-", None]
    assert "bytes from 1007 were sent instead of those from 1000; trying again" in capsys.readouterr().err


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
    assert "is not what was packed (its sha256 differs): downloading it again" in capsys.readouterr().err


def test_wrong_content_twice_is_told(site, opened):
    site.files[TAR].corrupt = 5
    manifest = opened()
    told = f"{site.url}/{TAR} is not what was packed (its sha256 differs) (downloaded twice): upload or pack it again"
    assert failure(manifest) == told
    assert site.times(TAR) == 2
    assert not (manifest.root / TAR).exists()


def test_an_answer_that_claims_to_be_whole_and_is_not(site, opened, small_set):
    site.files[TAR].cut = [4000]
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()


def test_a_tar_that_is_cut_on_the_server(site, opened):
    site.files[TAR].content = site.files[TAR].content[:4000]
    told = failure(opened())
    assert f"{TAR} has 4,000 bytes where" in told
    assert site.times(TAR) == 2


def test_a_tar_that_grew_on_the_server(site, opened):
    site.files[TAR].content += b"?"
    site.files[TAR].chunked = True  # so that only the bytes themselves tell
    assert "is larger than" in failure(opened())


def test_a_cut_answer_of_unknown_length(site, opened, small_set):
    site.files[TAR].chunked, site.files[TAR].drops = True, [3000]
    assert fetch(opened()).read_bytes() == (small_set / TAR).read_bytes()
    assert site.ranges(TAR) == [None, "bytes=3000-"]


def test_silence(site, opened, monkeypatch):
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(download, "TRIES", 2)
    site.files[TAR].stall_after = 100
    assert "no answer within 0.05 s, 2 times in a row" in failure(opened())


def test_a_trickle(site, opened, monkeypatch):
    monkeypatch.setattr(download, "SLOW_S", 0.05)
    monkeypatch.setattr(download, "TRIES", 2)
    site.files[TAR].drip_s = 0.005
    assert re.search(r"only \d+ bytes received in 0.05 s, 2 times in a row", failure(opened()))
