"""The real command, and the next command that it prints."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asd.data.manifest import load_manifest
from shards.download.corpora import PARTS
from shards.download.next_step import next_lines
from tests.support.downloads import ADDITIONAL, DEV, EVAL, FILE, TRUTH, assert_whole, run
from tests.support.patience import wait_for
from tests.support.zenodo import Zenodo, zip_of

ROOT = Path(__file__).parents[3]


def test_next_lines(tmp_path):
    out = tmp_path / "it's here"
    (out / "eval" / "fan").mkdir(parents=True)
    (line,) = next_lines("dcase2020", out)
    assert "download --part additional" in line
    (out / "additional" / "fan").mkdir(parents=True)
    (line,) = next_lines("dcase2026", out)
    sources = ["--source", f"{out}/additional", "--source", f"{out}/eval"]
    words = [*sources, "--channel", "0,1", "--out", f"{out}_packed"]
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
