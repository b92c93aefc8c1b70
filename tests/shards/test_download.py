"""The download against a server on this machine that drops, corrupts, refuses and stalls."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asd.data.manifest import load_manifest
from asd.errors import UserError
from asd.files import download as transfer
from asd.files import remote
from shards.download import __main__ as download
from shards.download import client
from shards.download.corpora import PARTS, RECORDINGS, RECORDS
from shards.download.next_step import next_lines
from tests.support.patience import wait_for
from tests.support.zenodo import Stored, Zenodo, serve, zip_holding, zip_of

ROOT = Path(__file__).parents[2]
DEV, ADDITIONAL, EVAL, TRUTH = RECORDS["dcase2020"].values()
FILE = "dev_data_fan.zip"


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


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def run(zenodo: Zenodo, out: Path, *more: str, corpus: str = "dcase2020", parts: tuple[str, ...] = ("dev",)) -> None:
    chosen = [word for part in parts for word in ("--part", part)]
    assert download.main([corpus, "--out", str(out), "--url", zenodo.url, *chosen, *more]) == 0


def refused(zenodo: Zenodo, out: Path, *more: str, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        run(zenodo, out, *more, **options)
    return str(error.value)


def files_in(folder: Path) -> list[str]:
    """Every file that is not this command's own note or lock."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
    return sorted(str(path) for path in found if not path.name.startswith("."))


def assert_whole(out: Path) -> None:
    assert files_in(out) == ["dev/fan/test/b.wav", "dev/fan/train/a.wav"]
    assert (out / "dev/fan/train/a.wav").read_bytes() == noise(150_000)
    assert (out / "dev/fan/test/b.wav").read_bytes() == noise(50_000, 1)


def part_of(out: Path, stored: Stored, content: bytes) -> Path:
    """A beginning that an earlier run left."""
    path = out / "archives" / "dev" / f"{FILE}.{stored.md5[:8]}.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


# --- what is fetched, and where it goes ---


def test_all_parts_and_a_second_call(zenodo, out, stored, capsys):
    zenodo.add(ADDITIONAL, "eval_data_train_fan.zip", zip_holding({"fan/train/c.wav": b"c"}))
    zenodo.add(EVAL, "eval_data_test_fan.zip", zip_holding({"fan/test/d.wav": b"d"}))
    run(zenodo, out, parts=())
    assert files_in(out) == [
        *("additional/fan/train/c.wav", "dev/fan/test/b.wav", "dev/fan/train/a.wav", "eval/fan/test/d.wav")
    ]
    assert not (out / "archives").exists()
    shown = capsys.readouterr().out
    assert f"dev: Recordings of {DEV}; licence: cc-by-4.0; cite 10.5281/zenodo.{DEV}" in shown
    assert "files: 3; already there: 0" in shown
    asked = len(zenodo.asked_files())
    run(zenodo, out, parts=())
    assert len(zenodo.asked_files()) == asked == 3
    assert "files: 3; already there: 3; to fetch: 0.00 GiB" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["current", "late2023", "legacy"])
def test_every_form_of_the_api(zenodo, out, stored, form, capsys):
    zenodo.form = form
    run(zenodo, out)
    assert_whole(out)
    assert "licence: cc-by-4.0" in capsys.readouterr().out


def test_machines(zenodo, out):
    for name in ("ToyCar", "ToyCarEmu", "3DPrinter"):
        zenodo.add(DEV, f"dev_{name}_train_r2.zip", zip_holding({f"{name}/train/a.wav": b"a"}))
    zenodo.add(TRUTH, "eval_data_list.csv", b"ToyCar\r\n")
    run(zenodo, out, "--machine", "ToyCar", "--machine", "3dprinter", parts=("dev", "ground-truth"))
    assert files_in(out) == ["dev/3DPrinter/train/a.wav", "dev/ToyCar/train/a.wav", "ground-truth/eval_data_list.csv"]
    error = refused(zenodo, out, "--machine", "Toy")
    assert error.startswith("--machine Toy: no file is about it; there are dev/dev_3DPrinter_train_r2.zip, ")


def test_a_file_that_is_no_zip(zenodo, out):
    zenodo.add(TRUTH, "eval_data_list.csv", b"fan\r\n")
    run(zenodo, out, parts=("ground-truth",))
    assert (out / "ground-truth" / "eval_data_list.csv").read_bytes() == b"fan\r\n"
    run(zenodo, out, parts=("ground-truth",))
    assert len(zenodo.asked_files()) == 1


def test_every_year_has_records_of_its_own_for_all_recordings():
    assert all(set(RECORDINGS) <= set(records) <= set(PARTS) for records in RECORDS.values())
    numbers = [number for records in RECORDS.values() for number in records.values()]
    assert len(numbers) == len(set(numbers))


def test_ground_truth_that_has_no_record(zenodo, out):
    error = refused(zenodo, out, corpus="dcase2023", parts=("dev", "ground-truth"))
    assert "official evaluator of the year; there are dev, additional, eval" in error
    assert zenodo.asked == []


def test_kept_archives_are_verified_and_used(zenodo, out, stored):
    run(zenodo, out, "--keep-archives")
    archive = out / "archives" / "dev" / FILE
    assert archive.read_bytes() == stored.content
    shutil.rmtree(out / "dev")
    run(zenodo, out)
    assert len(zenodo.asked_files()) == 1
    assert_whole(out)
    shutil.rmtree(out / "dev")
    archive.parent.mkdir(parents=True)
    archive.write_bytes(bytes(len(stored.content)))  # the right size alone does not count
    run(zenodo, out)
    assert len(zenodo.asked_files()) == 2
    assert_whole(out)


# --- resuming ---


def test_dropped_connections_are_continued(zenodo, out, stored):
    stored.drops = [30_000, 1, 50_000, 60_000]
    run(zenodo, out)
    assert_whole(out)
    assert zenodo.asked_files() == [None, *(f"bytes={at}-" for at in (30_000, 30_001, 80_001, 140_001))]


def test_more_drops_than_tries_as_long_as_bytes_come(zenodo, out, stored):
    stored.drops = [10_000] * (2 * client.TRIES)
    run(zenodo, out)
    assert_whole(out)


def test_the_beginning_of_an_earlier_run_is_continued(zenodo, out, stored):
    part_of(out, stored, stored.content[:77_000])
    run(zenodo, out)
    assert zenodo.asked_files() == ["bytes=77000-"]
    assert_whole(out)


def test_a_whole_part_is_not_fetched(zenodo, out, stored):
    part_of(out, stored, stored.content)
    run(zenodo, out)
    assert zenodo.asked_files() == []
    assert_whole(out)


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        ({"ranges": False}, ["bytes=77000-"]),  # the answer is the whole: no second request
        ({"check_ranges": True}, ["bytes=77000-", None]),
        ({"shift": 10}, ["bytes=77000-", None]),
    ],
)
def test_a_part_that_cannot_be_continued_is_begun_anew(zenodo, out, stored, fault, asked):
    vars(stored).update(fault)
    part_of(out, stored, stored.content[:77_000])
    run(zenodo, out)
    assert zenodo.asked_files() == asked
    assert_whole(out)


def test_a_part_that_is_too_long(zenodo, out, stored):
    part_of(out, stored, stored.content + b"more")
    run(zenodo, out)
    assert zenodo.asked_files() == [None]
    assert_whole(out)


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


# --- checksums ---


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


# --- servers and networks ---


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


# --- unpacking ---


@pytest.mark.parametrize("name", ["../evil.wav", "/evil.wav", "fan/../../evil.wav", "C:/evil.wav", "fan\\..\\evil.wav"])
def test_members_that_point_out_of_the_folder(zenodo, out, name):
    zenodo.add(DEV, FILE, zip_holding({"fan/train/a.wav": b"a", name: b"evil"}))
    error = refused(zenodo, out)
    assert f"its member {name!r} points out of the folder" in error
    assert files_in(out) == [f"archives/dev/{FILE}"]
    assert not list(out.parent.rglob("evil*"))


def test_links_are_refused(zenodo, out, tmp_path):
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("fan")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    zenodo.add(DEV, FILE, path.read_bytes())
    assert "its member 'fan' is a link or a special file" in refused(zenodo, out)
    assert files_in(out / "dev") == []


def test_more_than_the_disk_holds(zenodo, out, stored, monkeypatch):
    free = 1_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free, 0, free))
    stored.content = zip_holding({"fan/train/zeros.wav": bytes(10_000_000)})
    assert len(stored.content) < 20_000
    assert "is not unpacked: that takes 0.01 GiB and 0.00 GiB are free" in refused(zenodo, out)
    assert files_in(out / "dev") == []
    free = 5_000
    assert "have to be downloaded and 0.00 GiB are free" not in refused(zenodo, out)  # it is here already
    shutil.rmtree(out)
    assert "have to be downloaded and 0.00 GiB are free" in refused(zenodo, out)


def test_a_disk_that_fills_up(zenodo, out, stored, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copy", full)
    zenodo.add(TRUTH, "list.csv", b"fan")
    assert f"no space left in {out}: free some space" in refused(zenodo, out, parts=("ground-truth",))


@pytest.mark.parametrize("content", [b"no zip at all", zip_holding({})])
def test_what_is_no_archive(zenodo, out, stored, content):
    stored.content = content
    assert "unpacked" in (error := refused(zenodo, out))
    assert FILE in error


def test_a_damaged_member(zenodo, out, stored):
    """A record whose archive is itself broken: the checksum is right and the CRC is not."""
    content = bytearray(zip_holding({"fan/train/a.wav": b"a" * 50, "fan/train/b.wav": b"b" * 50}))
    at = content.rindex(b"PK\x01\x02") + 16  # the CRC of the last member, in the central directory
    content[at] ^= 1
    stored.content = bytes(content)
    assert "cannot be unpacked: Bad CRC-32 for file 'fan/train/b.wav'" in refused(zenodo, out)
    assert files_in(out / "dev") == []


def test_what_others_put_there_is_not_touched(zenodo, out, stored):
    own = out / "dev" / "fan" / "mine.wav"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    assert f"{out / 'dev' / 'fan'} exists and does not come from {FILE}" in refused(zenodo, out)
    assert own.read_bytes() == b"mine"
    own.parent.rename(out / "mine")
    run(zenodo, out)
    assert len(zenodo.asked_files()) == 1  # the archive had been kept
    shutil.rmtree(out / "mine")
    assert_whole(out)


def test_what_a_mac_leaves_is_left_out(zenodo, out, stored):
    stored.content = zip_holding({"./fan/train/a.wav": b"a", "__MACOSX/fan/._a.wav": b"x", ".DS_Store": b"x"})
    run(zenodo, out)
    assert {path.name for path in (out / "dev").iterdir()} == {f".{FILE}.json", "fan"}


def test_a_killed_unpacking_is_repaired(zenodo, out, stored):
    """As after kill -9 between the note and the rename: half a staging folder, a note, no entry."""
    run(zenodo, out, "--keep-archives")
    (out / "dev" / "fan").rename(out / "dev" / ".partial-dead")
    run(zenodo, out)
    assert len(zenodo.asked_files()) == 1
    assert not (out / "dev" / ".partial-dead").exists()
    assert_whole(out)


def test_one_download_at_a_time(zenodo, out, stored):
    with download.DownloadLock(out) as lock:
        lock.take()
        assert f"another run is downloading into {out} (process {os.getpid()} on " in refused(zenodo, out)
    run(zenodo, out)


# --- what to run next ---


def test_next_lines(tmp_path):
    out = tmp_path / "it's here"
    (out / "eval" / "fan").mkdir(parents=True)
    (line,) = next_lines("dcase2020", out)
    assert "download --part additional" in line
    (out / "additional" / "fan").mkdir(parents=True)
    (line,) = next_lines("dcase2026", out)
    sources = ["--source", f"{out}/additional", "--source", f"{out}/eval"]
    words = [*sources, "--channel", "0", "--out", f"{out}_packed"]
    assert shlex.split(line) == ["next:", "python", "-m", "shards.pack", "--layout", "dcase2026", *words]
    labels, line = next_lines("dcase2020", out)
    assert "--part ground-truth" in labels
    assert "--ground-truth" not in line
    (out / "ground-truth" / "list.csv").mkdir(parents=True)
    (line,) = next_lines("dcase2020", out)
    words = [*sources, "--ground-truth", f"{out}/ground-truth", "--out", f"{out}_packed"]
    assert shlex.split(line) == ["next:", "python", "-m", "shards.pack", "--layout", "dcase2020", *words]


def test_next_lines_from_within(tmp_path, monkeypatch):
    (tmp_path / "here" / "dev" / "fan").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    (line,) = next_lines("dcase2020", Path())
    assert line.endswith(f"--source {tmp_path}/here/dev --out {tmp_path}/here_packed")


# --- the real command ---


def command(zenodo: Zenodo, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "shards.download", "dcase2020", "--out", str(out), "--url", zenodo.url, *more]


def test_from_the_server_to_a_packed_set(zenodo, corpus, tmp_path, write_wav):
    """A dropped and a corrupt archive on the way; then the line that was printed, as a shell takes it."""
    out = tmp_path / "it's all here"
    zenodo.add(DEV, "dev_data_fan.zip", zip_of(corpus, "fan")).drops = [5_000]
    zenodo.add(DEV, "dev_data_pump.zip", zip_of(corpus, "pump")).corrupt = 1
    write_wav(tmp_path / "more" / "pump" / "train" / "normal_id_01_00000000.wav")
    zenodo.add(ADDITIONAL, "eval_data_train_pump.zip", zip_of(tmp_path / "more", "pump"))
    write_wav(tmp_path / "test" / "pump" / "test" / "id_01_00000000.wav")
    zenodo.add(EVAL, "eval_data_test_pump.zip", zip_of(tmp_path / "test", "pump"))
    truth = b"pump\r\nid_01_00000000.wav,anomaly_id_01_00000007.wav,1\r\n"
    zenodo.add(TRUTH, "eval_data_list.csv", truth)
    everything = [word for part in PARTS for word in ("--part", part)]
    done = subprocess.run(command(zenodo, out, *everything), cwd=ROOT, capture_output=True, text=True, check=True)
    assert "dev_data_pump.zip/content is corrupt" in done.stderr
    assert zenodo.asked_files("dev_data_fan.zip") == [None, "bytes=5000-"]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("next: ")]
    in_a_shell = line.removeprefix("next: ").replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(in_a_shell, shell=True, cwd=ROOT, check=True, capture_output=True)
    manifest = load_manifest(tmp_path / "it's all here_packed")
    assert [str(c) for c in manifest.classes] == ["fan/00", "fan/02", "pump/00", "pump/01"]
    assert len(manifest) == 26
    (labelled,) = np.flatnonzero((manifest.class_index == 3) & (manifest.label == 1))
    assert manifest.strings("file_name")[labelled] == "id_01_00000000.wav"


def test_refusal_of_the_real_command(zenodo, out):
    zenodo.answer = b"{}"
    done = subprocess.run(command(zenodo, out), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_keeps_what_is_here(zenodo, out, stored, number, code):
    stored.stall_after = 90_000
    process = subprocess.Popen(
        command(zenodo, out, "--part", "dev"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    part = out / "archives" / "dev" / f"{FILE}.{stored.md5[:8]}.part"
    wait_for(lambda: process.poll() is not None or (part.exists() and part.stat().st_size))
    assert process.poll() is None, "the download ended before it could be stopped"
    os.kill(process.pid, number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert "run the same command to continue" in errors
    assert "Traceback" not in errors
    here = part.stat().st_size
    assert 0 < here <= 90_000
    stored.stall_after = None
    run(zenodo, out)
    assert zenodo.asked_files() == [None, f"bytes={here}-"]
    assert_whole(out)
