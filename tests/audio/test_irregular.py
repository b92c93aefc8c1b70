"""What has a recording's name and is none: a reason, at once, and never a wait."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.audio.header import BadFileError, read_header
from asd.dcase import read_submission
from asd.dcase.csv_rows import read_rows
from asd.detector.recordings import of_table
from asd.errors import UserError
from shards import cut, pack


def said(path: Path) -> tuple[str, str]:
    with pytest.raises(BadFileError) as caught:
        read_header(path)
    return caught.value.kind, caught.value.detail


@pytest.mark.timeout(60)
def test_pipes_sockets_devices_folders_and_broken_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    for name in ("pipe.wav", "folder.wav", "device.wav"):
        assert said(tmp_path / name) == ("unreadable", "it is not a regular file but a folder, pipe or device")
    assert said(tmp_path / "gone.wav") == ("unreadable", "it is a link that leads nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.wav")
        assert said(tmp_path / "socket.wav")[0] == "unreadable"


def test_sound_that_libsndfile_does_not_decode_names_the_way_on(tmp_path: Path) -> None:
    for name, how in (("a b.m4a", "ffmpeg -i "), ("c.pcm", "ffmpeg -f s16le -ar RATE -ac CHANNELS -i ")):
        (tmp_path / name).write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
        kind, detail = said(tmp_path / name)
        assert (kind, how in detail) == ("foreign", True)
        assert f"'{tmp_path / name}'" in detail or " " not in name


@pytest.mark.timeout(120)
def test_packing_and_cutting_say_it_in_one_line(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000, np.int16), 16_000)
    os.mkfifo(tmp_path / "b.wav")
    table = tmp_path / "t.csv"
    table.write_text("path,machine_type,machine_id,split,label\na.wav,fan,00,train,normal\nb.wav,fan,00,train,normal\n")
    why = f"{tmp_path / 'b.wav'}: it is not a regular file but a folder, pipe or device"
    with pytest.raises(UserError, match=rf"1 of 2 recordings are unreadable, first: {why}; .*--skip-bad"):
        pack.main(["--layout", "table", "--source", str(table), "--out", str(tmp_path / "set")])
    with pytest.raises(UserError, match="it is not a regular file"):
        cut.main(["--source", str(table), "--seconds", "1", "--out", str(tmp_path / "cut")])


@pytest.mark.timeout(60)
def test_csv_files_that_are_pipes_do_not_wait(tmp_path: Path) -> None:
    for name in ("anomaly_score_fan_section_00_test.csv", "ground_truth_fan_section_00_test.csv"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match="is not a regular file"):
            read_rows(tmp_path / name)
        with pytest.raises(UserError, match="is not a regular file"):
            of_table(None, tmp_path / name, None, None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is not a regular file"):
        read_submission("dcase2023", tmp_path, None)
