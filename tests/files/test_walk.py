"""The one listing of files: every file or a word about it, in an order that is not the disk's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asd.audio.listing import NO_RECORDINGS, NOWHERE, find_recordings, list_recordings
from asd.errors import UserError
from asd.files.walk import AGAIN, HIDDEN, SIDECAR, walk

ROOT = Path(__file__).parents[2]
# Root may read everything; without these capabilities it is like anybody else.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root: Path, paths: list[Path]) -> list[str]:
    return [str(path.relative_to(root)) for path in paths]


def test_every_file_is_listed_or_passed_over_by_name(tmp_path: Path) -> None:
    kept = ["a/x.wav", "a/X.wav", "b.FLAC", "c.Wav", "d/e/f.m4a", "~g.wav", "x.wav/y.wav"]
    touch(
        tmp_path, *kept, "._b.wav", ".Trash/old.wav", "Thumbs.db", "__MACOSX/x.wav", "lost+found/x", "t.csv", "x.wav~"
    )
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "gone.wav").symlink_to("nowhere")
    (tmp_path / "itself").symlink_to("itself")
    found = list_recordings(tmp_path)
    assert sorted(names(tmp_path, found.files)) == sorted([*kept, "gone.wav"])
    assert {why: names(tmp_path, paths) for why, paths in found.passed.items()} == {
        HIDDEN: [".Trash", "._b.wav"],
        SIDECAR: ["Thumbs.db", "__MACOSX", "lost+found"],
        NO_RECORDINGS: ["t.csv", "x.wav~"],
        NOWHERE: ["gone", "itself"],
    }


def test_the_order_is_not_that_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "b/2.wav", "b/1.wav", "a.wav", "c/real.wav")
    for link in ("a_link", "z_link"):
        (tmp_path / link).symlink_to("c")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    real = os.scandir

    class Backwards:
        def __init__(self, folder: Path) -> None:
            with real(folder) as scan:
                self.entries = sorted(scan, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *error: object) -> None:
            pass

    first = walk(tmp_path)
    monkeypatch.setattr(os, "scandir", Backwards)
    second = walk(tmp_path)
    assert names(tmp_path, first.files) == ["a.wav", "b/1.wav", "b/2.wav", "c/real.wav"]
    assert names(tmp_path, first.passed[AGAIN]) == ["a_link", "b/up", "z_link"]
    assert (first.files, [*first.passed.items()]) == (second.files, [*second.passed.items()])


def test_what_lies_behind_links_is_listed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/deep/a.wav", "elsewhere/b.wav", "live/c.wav")
    (tmp_path / "live" / "monday").symlink_to("../elsewhere")
    (tmp_path / "live" / "d.wav").symlink_to("../elsewhere/b.wav")
    found = find_recordings([tmp_path / "live"])
    assert names(tmp_path / "live", found.files) == ["c.wav", "d.wav", "monday/b.wav", "monday/deep/a.wav"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "rec/valve/a.wav", "rec/fan/a.wav")
    (tmp_path / "rec" / "valve").chmod(0)
    before = AS_ANYBODY if os.geteuid() == 0 else ()
    say = f"from pathlib import Path; from asd.files.walk import walk; walk(Path({str(tmp_path)!r}))"
    done = subprocess.run([*before, sys.executable, "-c", say], cwd=ROOT, capture_output=True, text=True, check=False)
    (tmp_path / "rec" / "valve").chmod(0o755)
    assert f"UserError: the folder {tmp_path}/rec/valve cannot be listed (Permission denied): " in done.stderr


def test_places_that_are_missing_or_empty(tmp_path: Path) -> None:
    touch(tmp_path, "t.csv")
    with pytest.raises(UserError, match="contains no recordings"):
        find_recordings([tmp_path])
    with pytest.raises(UserError, match="there is no file or folder"):
        find_recordings([tmp_path / "nowhere"])
    touch(tmp_path, "odd.name")
    assert find_recordings([tmp_path / "odd.name", tmp_path / "odd.name"]).files == [tmp_path / "odd.name"]
