"""What the container runs, without the container: signals at any time, resuming, mistakes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.launch import ROOT, children, losses, records, without_heads
from tests.support.launching import command, descendants, endless, entrypoint, workers
from tests.support.patience import wait_for

SCRIPTS = sorted(path for end in ("*.sh", "*.sbatch") for path in (ROOT / "docker").glob(end))


def test_stopped_resumed_and_finished(small_set: Path, tmp_path: Path) -> None:
    """SIGTERM reaches all processes at once, as under some clusters."""
    folder, log = tmp_path / "run", tmp_path / "log"
    with entrypoint(log, endless(small_set, folder), RANKS="2") as started:
        wait_for(lambda: len(records(folder)) >= 3)
        for pid in [*descendants(started.pid), started.pid]:
            os.kill(pid, signal.SIGTERM)
        code = started.wait()
    assert code == 0, log.read_text()
    stopped = max(losses(folder))
    assert f"stopped by SIGTERM at step {stopped}, checkpoint saved" in log.read_text()
    with entrypoint(log, endless(small_set, folder, f"train.steps={stopped + 2}"), RANKS="2") as started:
        code = started.wait()
    assert code == 0, log.read_text()
    assert f"resuming from step {stopped}\n" in log.read_text()
    assert f"finished at step {stopped + 2}" in log.read_text()


def test_stopped_while_its_ranks_are_starting(small_set: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    with entrypoint(log, endless(small_set, folder), RANKS="2") as started:
        wait_for(lambda: len(workers(started.pid)) == 2)
        started.send_signal(signal.SIGTERM)
        code = started.wait()
    assert code == 0, log.read_text()
    assert re.search(r"info: stopped by SIGTERM at step [01], checkpoint saved", log.read_text())


@pytest.mark.parametrize("program", ["--check", "torchrun"])
def test_stopped_before_there_are_ranks(small_set: Path, tmp_path: Path, program: str) -> None:
    with entrypoint(tmp_path / "log", endless(small_set, tmp_path / "run")) as started:
        wait_for(lambda: [pid for pid in children(started.pid) if program in command(pid)])
        for pid in [*children(started.pid), started.pid]:
            os.kill(pid, signal.SIGTERM)
        code = started.wait()
    assert code == 0, (tmp_path / "log").read_text()
    assert not (tmp_path / "run").exists()


def test_a_cluster_is_told_that_a_stopped_run_is_not_finished(small_set: Path, tmp_path: Path) -> None:
    """Also where only a rank of another node was told to stop."""
    folder, log = tmp_path / "run", tmp_path / "log"
    with entrypoint(log, endless(small_set, folder), RANKS="2", STOPPED_EXIT_CODE="143") as started:
        wait_for(lambda: len(records(folder)) >= 1)
        os.kill(workers(started.pid)[1], signal.SIGTERM)
        code = started.wait()
    assert code == 143, log.read_text()
    assert "stopped by another rank at step" in log.read_text()


def test_ranks_that_do_not_save_in_time_are_killed(small_set: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    with entrypoint(log, endless(small_set, folder), SHUTDOWN_TIMEOUT="2") as started:
        wait_for(lambda: len(records(folder)) >= 1)
        hanging = workers(started.pid)
        os.kill(hanging[0], signal.SIGSTOP)
        started.send_signal(signal.SIGTERM)
        code = started.wait()
    assert code == 1, log.read_text()
    assert "ranks did not save within SHUTDOWN_TIMEOUT=2 seconds" in log.read_text()
    wait_for(lambda: not command(hanging[0]))


def test_a_mistake_ends_before_torchrun(small_set: Path, tmp_path: Path) -> None:
    """A global batch of 16 does not divide over 2 nodes of 3 ranks, which none of them would know alone."""
    with entrypoint(tmp_path / "log", endless(small_set, tmp_path / "run"), RANKS="3", NNODES="1:2") as started:
        code = started.wait()
    said = (tmp_path / "log").read_text()
    assert code == 2, said
    assert without_heads(said).startswith("error: ")
    assert said.count("\n") == 1


def test_other_programs(tmp_path: Path) -> None:
    with entrypoint(tmp_path / "log", ["python", "-c", "import sys; sys.exit(7)"]) as started:
        assert started.wait() == 7


def test_a_watcher_is_told_to_stop(tmp_path: Path) -> None:
    log, words = tmp_path / "log", ["python", "eval.py", "watch", "--run", str(tmp_path / "run")]
    with entrypoint(log, words) as started:
        wait_for(lambda: "waiting for" in log.read_text())
        started.send_signal(signal.SIGTERM)
        code = started.wait()
    assert code == 0, log.read_text()
    assert log.read_text().endswith("stopped by SIGTERM\n")


def test_the_scripts_are_found() -> None:
    assert {"entrypoint.sh", "try.sh", "slurm.sbatch"} <= {path.name for path in SCRIPTS}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script: Path) -> None:
    done = subprocess.run(["shellcheck", "--shell=bash", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
