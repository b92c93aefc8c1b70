"""The real command, refused, stopped and killed: never anything left that looks whole."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asd.data.manifest import load_manifest
from asd.errors import UserError
from shards import pack, verify
from shards.synth import __main__ as synth
from tests.support.patience import wait_for

ROOT = Path(__file__).parents[2]


def command(corpus: Path, out: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "shards.pack", "--layout", "dcase2020"),
        *("--source", str(corpus), "--out", str(out), *more),
    ]


def refused(corpus: Path, out: Path, *more: str) -> str:
    """Run the real command; exit code 2, one line of error, nothing left. Returns the line."""
    done = subprocess.run(command(corpus, out, *more), cwd=ROOT, capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1
    assert done.stderr.splitlines()[-1] == errors[0]
    assert "Traceback" not in done.stderr
    assert left_beside(out) == []
    return errors[0]


def left_beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path.name.startswith(out.name))


def test_refusals_of_the_real_command(corpus, tmp_path):
    out = tmp_path / "set"
    (tmp_path / "empty").mkdir()
    assert re.search(r"empty holds no recording", refused(tmp_path / "empty", out))
    path = corpus / "fan" / "train" / "normal_id_00_00000001.wav"
    path.write_bytes(path.read_bytes()[:-100])
    assert re.search(rf"1 of 24 recordings are truncated, first: {path}: .*--skip-bad", refused(corpus, out))


def test_a_file_system_that_takes_no_more(corpus, tmp_path):
    """A limit on file sizes fails the way a full disk does: in the middle of writing a tar."""
    limited = ["bash", "-c", 'ulimit -f 40; exec "$@"', "-", *command(corpus, tmp_path / "set")]
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: File too large")
    assert left_beside(tmp_path / "set") == []


@pytest.fixture
def long_corpus(corpus, write_wav):
    """The small corpus with some minutes of noise, which take a while to compress."""
    for number in range(10, 40):
        write_wav(corpus / "fan" / "train" / f"normal_id_00_{number:08d}.wav", samples=480_000)
        write_wav(corpus / "fan" / "test" / f"normal_id_00_{number:08d}.wav", samples=480_000)
    return corpus


def start(corpus: Path, out: Path, workers: int = 2) -> subprocess.Popen[str]:
    """A pack that has begun to write."""
    process = subprocess.Popen(
        command(corpus, out, "--workers", str(workers), "--codec", "flac"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    tars = f"{out.name}.partial-*/*.tar"
    wait_for(lambda: process.poll() is not None or any(tar.stat().st_size for tar in out.parent.glob(tars)))
    assert process.poll() is None, "the pack ended before it could be stopped"
    return process


def test_kill_9_leaves_no_set_and_the_next_run_works(long_corpus, tmp_path, capsys):
    out = tmp_path / "set"
    process = start(long_corpus, out)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    (partial,) = tmp_path.glob("set.partial-*")
    with pytest.raises(UserError, match=r"holds no manifest\.json"):
        load_manifest(partial)
    assert group_is_gone(process.pid)
    assert pack.main(command(long_corpus, out)[3:]) == 0
    assert f"removed {partial}" in capsys.readouterr().err
    assert left_beside(out) == ["set"]
    assert verify.verify(load_manifest(out)) == []


@pytest.mark.parametrize(("number", "code", "workers"), [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 2)])
def test_stopping_cleans_up(long_corpus, tmp_path, number, code, workers):
    process = start(long_corpus, tmp_path / "set", workers)
    os.killpg(process.pid, number)  # as Ctrl-C does: the workers get it as well
    _, errors = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in errors
    assert left_beside(tmp_path / "set") == []
    assert group_is_gone(process.pid)


def start_synth(out: Path) -> subprocess.Popen[str]:
    """A synth of two workers that has begun to write."""
    process = subprocess.Popen(
        [sys.executable, "-m", "shards.synth", "--out", str(out), "--workers", "2", "--train-clips", "4000"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: process.poll() is not None or any(out.parent.glob(f"{out.name}.partial-*/*/*/*.wav")))
    assert process.poll() is None, "the synth ended before it could be stopped"
    return process


def test_stopping_synth_cleans_up(tmp_path):
    process = start_synth(tmp_path / "factory")
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 143
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
    assert group_is_gone(process.pid)


def test_synth_after_kill_9(tmp_path, capsys):
    out = tmp_path / "factory"
    process = start_synth(out)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert group_is_gone(process.pid)
    (partial,) = tmp_path.iterdir()
    tiny = ["--clip-s", "0.5", "--train-clips", "1", "--test-clips", "1", "--workers", "1"]
    assert synth.main(["--out", str(out), *tiny]) == 0
    assert f"removed {partial}" in capsys.readouterr().err
    assert left_beside(out) == ["factory"]
    assert len([path for path in out.rglob("*") if path.is_file()]) == 123  # no lock file either


def group_is_gone(group: int) -> bool:
    """Waits until every process of a session has ended: workers see that their parent died a little later."""

    def gone() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    return wait_for(gone)
