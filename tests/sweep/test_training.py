"""What a job of submitit does, as a real one: SIGTERM ends it, and before its time ends it saves and goes on later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import submitit

from asd.sweep.training import Training
from tests.support.launch import children, kill
from tests.support.patience import wait_for

# Writes down its starts and ends; the first start goes on until SIGTERM, the second ends by itself.
COMMAND = """
import os, pathlib, signal, sys, time
diary = pathlib.Path(sys.argv[1])
def write(word):
    with diary.open("a") as file:
        file.write(f"{word} {os.getpid()}\\n")
def save(*_):
    write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
write("began")
while diary.read_text().count("began") == 1:
    time.sleep(0.01)
sys.exit(7)
"""

Handle = submitit.Job[tuple[int, float]]


@pytest.fixture
def sweep() -> Iterator[subprocess.Popen[bytes]]:
    """A process that might be one."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def job(tmp_path: Path, sweep: subprocess.Popen[bytes]) -> Iterator[tuple[Handle, Path]]:
    """Under way, with its diary; whatever of it is left at the end is killed."""
    diary = tmp_path / "diary"
    executor = submitit.LocalExecutor(tmp_path / "jobs")
    executor.update_parameters(timeout_min=60, stderr_to_stdout=True)
    command = [sys.executable, "-c", COMMAND, str(diary)]
    handle = executor.submit(Training(command, {"CUDA_VISIBLE_DEVICES": None}, sweep=sweep.pid))
    wait_for(lambda: diary.exists() and diary.read_text().endswith("\n"))
    yield handle, diary
    for pid in [int(handle.job_id), *(int(line.split()[1]) for line in diary.read_text().splitlines())]:
        kill(pid)
    wait_for(handle.done)


def words(diary: Path) -> list[str]:
    return [line.split()[0] for line in diary.read_text().splitlines()]


def test_sigterm_ends_it_without_a_result(job: tuple[Handle, Path]) -> None:
    handle, diary = job
    os.kill(int(handle.job_id), signal.SIGTERM)
    wait_for(handle.done)
    assert words(diary) == ["began", "saved"]
    assert not handle.paths.result_pickle.exists()


def test_it_ends_as_well_where_its_sweep_is_killed(job: tuple[Handle, Path], sweep: subprocess.Popen[bytes]) -> None:
    handle, diary = job
    sweep.kill()
    sweep.wait()
    wait_for(handle.done)
    assert words(diary) == ["began", "saved"]
    assert not handle.paths.result_pickle.exists()


def test_before_its_time_ends_it_saves_and_goes_on_later(job: tuple[Handle, Path]) -> None:
    """Slurm has the job in its queue again, submitit's processes start it at once."""
    handle, diary = job
    (task,) = children(int(handle.job_id))
    os.kill(task, signal.SIGUSR2)
    code, seconds = wait_for(lambda: handle.done() and handle.result())
    assert words(diary) == ["began", "saved", "began"]
    assert (code, seconds > 0) == (7, True)


def test_the_signal_of_slurm_does_not_reach_the_command(job: tuple[Handle, Path]) -> None:
    """Where it is sent to every process of a job, it would end what is to save."""
    handle, diary = job
    os.kill(int(diary.read_text().split()[1]), signal.SIGUSR2)
    (task,) = children(int(handle.job_id))
    os.kill(task, signal.SIGUSR2)
    wait_for(handle.done)
    assert words(diary) == ["began", "saved", "began"]


def test_the_command_has_its_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("OTHER", "x")
    file, core = tmp_path / "seen", min(os.sched_getaffinity(0))
    show = "import os, sys; print(os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ['OTHER'], os.environ['OWN'],"
    show += " os.sched_getaffinity(0), file=open(sys.argv[1], 'w'))"
    training = Training(
        [sys.executable, "-c", show, str(file)], {"CUDA_VISIBLE_DEVICES": None, "OWN": "y"}, frozenset({core})
    )
    all_cores = os.sched_getaffinity(0)
    try:
        assert training()[0] == 0
    finally:
        os.sched_setaffinity(0, all_cores)
    assert file.read_text() == f"None x y {{{core}}}\n"
