"""Archives: what is refused, and unpacking that was interrupted."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import zipfile

import pytest

from shards.download import __main__ as download
from tests.support.downloads import DEV, FILE, TRUTH, assert_whole, files_in, refused, run
from tests.support.zenodo import zip_holding


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
