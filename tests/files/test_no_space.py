"""Every writer on a disk without room: one line that names the place, and nothing half-made.

Training is looked at in tests/end_to_end/test_full_disk.py.
"""

from __future__ import annotations

import csv
import errno
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure

from asd.detector import timeline, write_detector
from asd.errors import UserError, describe_os_error
from asd.files.atomic import write_whole
from asd.report import write_report
from asd.run_folder.checkpoint import save_tensors
from shards import cut, pack
from shards.synth.__main__ import main as synthesise
from tests.detector.test_detector import detector_file
from tests.end_to_end.test_full_disk import small_disk
from tests.report.test_report import HEADER, clips
from tests.text.test_text import ROOT

SOURCE = "source.csv"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of some kilobytes beside a table of recordings that are larger."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).integers(-900, 900, 64_000, np.int16), 16_000)
    with (tmp_path / SOURCE).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "machine_type", "machine_id", "split", "label"))
        rows.writerow(("a.wav", "fan", "1", "train", "normal"))
    with small_disk(tmp_path / "disk", "32k"):
        yield tmp_path / "disk"


def picture(path: Path) -> None:
    figure = Figure(figsize=(10, 10))
    figure.subplots().imshow(np.random.default_rng(0).random((500, 500)))
    timeline._saved(figure, path)


def packing(codec: str) -> Callable[[Path], object]:
    return lambda disk: pack.main(
        f"--layout table --source {disk.parent / SOURCE} --out {disk / 'set'} --workers 1 --codec {codec}".split()
    )


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda disk: write_whole(disk / "a.txt", "x" * 100_000),
    "tensors": lambda disk: save_tensors({"a": torch.zeros(100_000)}, disk / "a.safetensors"),
    "detector": lambda disk: write_detector(disk / "d.pt", detector_file()),
    "report": lambda disk: write_report(disk / "scores", clips(tuple(f"machine{n}" for n in range(40))), HEADER),
    "picture": lambda disk: picture(disk / "a.png"),
    "pcm16": packing("pcm16"),
    "flac": packing("flac"),
    "cut": lambda disk: cut.main(f"--source {disk.parent / SOURCE} --seconds 1 --out {disk / 'cut'}".split()),
    "synth": lambda disk: synthesise(["--out", str(disk / "factory")]),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_one_line_and_nothing_half_made(disk: Path, writer: str) -> None:
    with pytest.raises((OSError, UserError)) as caught:
        WRITERS[writer](disk)
    error = caught.value
    if isinstance(error, OSError):
        assert error.errno == errno.ENOSPC
        line = describe_os_error(error)
    else:
        line = str(error)
    assert "no space left" in line.lower() or "cannot write, 0 MiB free" in line
    assert str(disk) in line
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def test_what_is_there_stays_until_the_new_one_is_whole(disk: Path) -> None:
    write_whole(disk / "a.txt", "before")
    with pytest.raises(OSError, match="No space left"):
        write_whole(disk / "a.txt", "x" * 100_000)
    assert [path.name for path in disk.iterdir()] == ["a.txt"]
    assert (disk / "a.txt").read_text(encoding="utf-8") == "before"


def test_standard_output_on_a_full_disk_is_one_line() -> None:
    code = "from asd.errors import run_main; run_main(lambda: print('x'))"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, encoding="utf-8", check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: No space left on device") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("place", "said"),
    [("/proc/none/a.txt", "No such file or directory"), ("x" * 300, "File name too long")],
    ids=["missing", "long"],
)
def test_other_places_that_take_no_file_are_named(tmp_path: Path, place: str, said: str) -> None:
    with pytest.raises(OSError, match=said) as caught:
        write_whole(tmp_path / place, "x")
    assert place in describe_os_error(caught.value)
