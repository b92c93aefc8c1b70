"""Servers that send too little, too much, something else or nothing."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from asd.files import download as transfer
from asd.files import remote
from shards.download import __main__ as download
from shards.download import client
from tests.support.downloads import DEV, EVAL, FILE, assert_whole, files_in, part_of, refused, run
from tests.support.zenodo import Stored, zip_holding


def test_no_length_and_a_short_answer(zenodo, out, stored):
    stored.chunked, stored.drops = True, [40_000]
    run(zenodo, out)
    assert zenodo.asked_files() == [None, "bytes=40000-"]
    assert_whole(out)


def test_a_file_that_has_changed_on_the_server(zenodo, out, stored, capsys):
    old = part_of(out, Stored(b"another version"), b"another")
    run(zenodo, out)
    assert not old.exists()
    assert "has changed on the server" in capsys.readouterr().err
    assert zenodo.asked_files() == [None]
    stored.content = zip_holding({"fan/train/new.wav": b"new"})
    run(zenodo, out)
    assert files_in(out) == ["dev/fan/train/new.wav"]


def test_a_size_that_is_not_the_records(zenodo, out, stored):
    stored.listed_size = 5_000_000
    assert f"has {len(stored.content):,} bytes where 5,000,000 are expected (downloaded twice)" in refused(zenodo, out)
    assert len(zenodo.asked_files()) == 2
    assert files_in(out) == []


def test_more_bytes_than_announced_end(zenodo, out, stored):
    stored.listed_size, stored.chunked = 100_000, True
    assert "is larger than the expected 100,000 bytes (downloaded twice)" in refused(zenodo, out)
    assert len(zenodo.asked_files()) == 2
    assert files_in(out) == []


def test_corrupt_once(zenodo, out, stored, capsys):
    stored.corrupt = 1
    run(zenodo, out)
    assert_whole(out)
    assert f"{FILE}/content is corrupt" in capsys.readouterr().err
    assert zenodo.asked_files() == [None, None]


def test_corrupt_twice(zenodo, out, stored):
    stored.corrupt = 2
    error = refused(zenodo, out)
    assert FILE in error
    assert f"expected md5:{stored.md5}, found md5:" in error
    assert len(zenodo.asked_files()) == 2
    assert files_in(out) == []
    run(zenodo, out)
    assert_whole(out)


def test_passing_errors_are_waited_out(zenodo, out, stored, monkeypatch, capsys):
    waits: list[float] = []

    class Event:
        wait, is_set = staticmethod(waits.append), bool

    monkeypatch.setattr(client, "threading", SimpleNamespace(Event=Event))
    monkeypatch.setattr(transfer, "FIRST_WAIT_S", 2.0)
    monkeypatch.setattr(remote, "MAX_RETRY_AFTER_S", 60.0)
    stored.statuses = [500, 429, 503]
    run(zenodo, out)
    assert_whole(out)
    assert waits == [7.0, 7.0, 8.0]  # the server asks for 7 s; 2, 4, 8 s of our own
    assert "HTTP 429 Too Many Requests; trying again in 7 s" in capsys.readouterr().err


def test_lasting_errors_end_in_one_line(zenodo, out, stored):
    stored.statuses = [500] * 100
    error = refused(zenodo, out)
    assert f"{FILE}/content: HTTP 500 Internal Server Error, {client.TRIES} times in a row" in error
    assert "run the same command again" in error
    assert len(zenodo.asked_files()) == client.TRIES


def test_final_errors_are_not_tried_again(zenodo, out, stored):
    stored.statuses = [404] * 100
    assert "HTTP 404 Not Found; check the address" in refused(zenodo, out)
    assert len(zenodo.asked_files()) == 1
    assert f"/api/records/{EVAL}: HTTP 404" in refused(zenodo, out, parts=("eval",))


def test_silence(zenodo, out, stored, monkeypatch):
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(client, "TRIES", 2)
    stored.stall_after = 0
    assert "no answer within 0.05 s, 2 times in a row" in refused(zenodo, out)


def test_nobody_listens(zenodo, out):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        zenodo.url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        error = refused(zenodo, out)
    assert error.startswith(f"{zenodo.url}/api/records/{DEV}: ")
    assert "times in a row; check the network" in error


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"<html>welcome</html>", "does not answer in JSON"),
        (b'{"hits": []}', "does not answer as Zenodo does: id: "),
        (b'{"id": 1, "metadata": {"title": "t"}}', "lists no files"),
        (
            b'{"id": 1, "metadata": {"title": "t"}, "files": [{"key": "../x.zip", "size": 1, "checksum": "md5:0",'
            b' "links": {"self": "http://a/b"}}]}',
            "'../x.zip' is not a plain file name",
        ),
        (
            b'{"id": 1, "metadata": {"title": "t"}, "files": [{"key": "x.zip", "size": 1, "checksum": "crc:0",'
            b' "links": {"self": "http://a/b"}}]}',
            "checksum 'crc:0' is of no known algorithm",
        ),
        (
            b'{"id": 1, "metadata": {"title": "t"}, "files": [{"key": "x.zip", "size": 1, "checksum": "md5:0",'
            b' "links": {"self": "file:///etc/passwd"}}]}',
            "'file:///etc/passwd' is not an address",
        ),
    ],
)
def test_answers_that_are_no_record(zenodo, out, answer, says):
    zenodo.answer = answer
    assert says in refused(zenodo, out)


@pytest.mark.parametrize("url", ["zenodo.org", "ftp://zenodo.org", "http://", "http://zenodo.org:x"])
def test_addresses_that_are_none(url, out, capsys):
    with pytest.raises(SystemExit) as error:
        download.main(["dcase2020", "--out", str(out), "--url", url])
    assert error.value.code == 2
    assert "argument --url" in capsys.readouterr().err
