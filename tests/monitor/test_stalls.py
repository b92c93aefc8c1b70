"""Who holds the others up, and what a rank that hangs leaves behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from asd.monitor.stages import Position, Stage
from asd.monitor.stalls import Stall, StallFiles, blame, stacks_of_all_threads
from asd.monitor.watchdog import FIRST_STEP, Watchdog
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


def stall(rank: int, stage: Stage, step: int = 40, waits: bool = False, told: float = 100.0) -> Stall:
    position = Position(step, stage, 0, waits)
    return Stall(rank=rank, host="node7", pid=1, position=position, since_unix=told - 50, told_unix=told)


def who(*stalls: Stall, world_size: int | None = None) -> str:
    return blame({s.rank: s for s in stalls}, world_size or len(stalls))


def test_the_rank_without_data_holds_up_those_in_the_collective() -> None:
    said = who(stall(0, Stage.STEP), stall(1, Stage.DATA), stall(2, Stage.STEP))
    assert said == (
        "rank 1 on node7 is stalled (waiting for data, step 40); ranks 0, 2 wait (forward and backward, step 40)"
    )


def test_ranks_may_stand_at_the_next_step_already() -> None:
    """A GPU's launches run ahead."""
    said = who(stall(0, Stage.FLAGS, step=41), stall(1, Stage.STEP), stall(2, Stage.DATA, step=41))
    assert said.startswith("rank 1 on node7 is stalled (forward and backward, step 40); ")
    assert "rank 0 waits (syncing ranks, step 41)" in said
    assert "rank 2 waits (waiting for data, step 41)" in said


def test_in_an_evaluation_the_one_without_data() -> None:
    said = who(stall(0, Stage.EVALUATE), stall(1, Stage.EVALUATE, waits=True))
    assert said.startswith(
        "rank 1 on node7 is stalled (evaluating, waiting for data, step 40); rank 0 waits (evaluating, step 40)"
    )


def test_who_writes_holds_up_those_that_went_on() -> None:
    assert who(stall(0, Stage.SHOW), stall(1, Stage.STEP)).startswith("rank 0 on node7 is stalled (logging, step 40)")


def test_nobody_is_named_where_all_are_alike() -> None:
    assert who(stall(0, Stage.STEP), stall(1, Stage.STEP)) == "ranks 0, 1 are stalled (forward and backward, step 40)"
    assert who(stall(0, Stage.DATA)) == "rank 0 on node7 is stalled (waiting for data, step 40)"


def test_a_rank_that_says_nothing() -> None:
    said = who(stall(0, Stage.STEP), world_size=2)
    assert said.startswith(
        "no stall report from rank 1: process dead or frozen, or it cannot see the run folder; rank 0 on node7"
    )


def test_many_ranks_are_counted() -> None:
    said = who(stall(0, Stage.DATA), *(stall(rank, Stage.STEP) for rank in range(1, 32)))
    assert said.endswith("; ranks 1, 2, 3, 4, 5, 6, 7, 8 and 23 more wait (forward and backward, step 40)")


def test_files_of_this_start_alone_count(tmp_path: Path) -> None:
    files = StallFiles(tmp_path / "stalls")
    assert files.under_way(0.0) == {}
    old, new, over = (stall(rank, Stage.DATA, told=told) for rank, told in enumerate((100.0, 300.0, 300.0)))
    for found in (old, new, over):
        files.write(found, f"stack of rank {found.rank}")
    files.end(over, 310.0)
    (tmp_path / "stalls" / "rank_9.txt").write_text("no JSON")
    assert files.under_way(200.0) == {1: new}
    assert "stack of rank 2" in (tmp_path / "stalls" / "rank_2.txt").read_text(), "stacks stay when the rank goes on"


def test_stacks_of_other_threads() -> None:
    end = threading.Event()

    def wait_here() -> None:
        end.wait(PATIENCE_S)

    thread = threading.Thread(target=wait_here)
    thread.start()
    stacks = stacks_of_all_threads()
    end.set()
    thread.join()
    assert "in wait_here" in stacks
    assert "test_stacks_of_other_threads" in stacks


class Times:
    """A rank's place and clock, set by hand."""

    def __init__(self, folder: Path, stall_s: float = 10.0) -> None:
        self.position, self.now = Position(), 0.0
        self.heard: list[Stall | None] = []
        self.dog = Watchdog(1, stall_s, StallFiles(folder / "stalls"), self)
        self.dog._since = 0.0

    def begin(self, step: int) -> None:
        self.position = Position(step)
        self.dog.watch(lambda: self.position)

    def tick(self, position: Position, progressed_unix: float, found: Stall | None) -> None:
        self.heard.append(found)

    def after(self, seconds: float, position: Position) -> Stall | None:
        self.now, self.position = self.now + seconds, position
        self.dog.look(self.now)
        return self.dog.stall


STEP = Position(7, Stage.STEP)


def begun(folder: Path) -> Times:
    """The first step is done."""
    times = Times(folder)
    times.begin(6)
    times.after(1, STEP)
    return times


def test_a_rank_that_does_not_move(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    times = begun(tmp_path)
    assert times.after(9, STEP) is None
    found = times.after(2, STEP)
    assert found is not None
    assert (found.rank, found.position) == (1, STEP)
    times.after(5, STEP)
    said = capfd.readouterr().err
    assert said.startswith(f"warning: no progress on {found.host} for 11 s in stage forward and backward (step 7)\n")
    assert said.count("no progress") == 1
    assert "test_a_rank_that_does_not_move" in said, "the stacks"
    assert times.after(1, Position(7, Stage.SHOW)) is None
    assert capfd.readouterr().out == f"progress again on {found.host} after 17 s\n"
    assert times.heard[-3:] == [found, found, None]


@pytest.mark.parametrize(
    "position",
    [
        Position(8, Stage.STEP),
        Position(7, Stage.FLAGS),
        Position(7, Stage.STEP, batches=1),
        Position(7, Stage.STEP, waits=True),
    ],
)
def test_whatever_changes_is_progress(tmp_path: Path, position: Position) -> None:
    times = begun(tmp_path)
    times.after(9, position)
    assert times.after(9, position) is None


def test_the_first_step_may_take_longer(tmp_path: Path) -> None:
    times = Times(tmp_path)
    first = Position(40, Stage.STEP)  # of a resumed run
    assert times.after(10 * FIRST_STEP - 1, Position()) is None
    times.begin(40)
    times.after(1, first)
    assert times.after(10 * FIRST_STEP - 1, first) is None
    assert times.after(1, first) is not None
    times.after(1, Position(41, Stage.STEP))
    assert times.after(11, Position(41, Stage.STEP)) is not None


def test_scores_come_when_they_come(tmp_path: Path) -> None:
    times = begun(tmp_path)
    times.after(1, Position(8, Stage.SCORE))
    assert times.after(1000, Position(8, Stage.SCORE)) is None


def test_without_a_folder_to_write_to_stderr_has_it_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stalls").write_text("a file")
    times = begun(tmp_path)
    assert times.after(11, STEP) is not None
    assert "test_without_a_folder" in capfd.readouterr().err
    assert times.after(1, Position(8, Stage.STEP)) is None


HOLDS_THE_LOCK = """
import ctypes, sys, time
from pathlib import Path
from asd.monitor import watchdog
from asd.monitor.stages import Position, Stage
from asd.monitor.stalls import StallFiles

watchdog.TICK_S, watchdog.FIRST_STEP = 0.05, 1.0
dog = watchdog.Watchdog(0, 0.5, StallFiles(Path(sys.argv[1])))
dog.start()
dog.watch(lambda: Position(1, Stage.STEP))
while dog._position.step != 1:  # until it has looked
    time.sleep(0.01)

def never_gives_it_back():
    ctypes.PyDLL(None).sleep(4)  # unlike CDLL, this keeps the interpreter's lock

never_gives_it_back()
"""


def test_stacks_come_even_where_no_thread_can_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "in never_gives_it_back" in done.stderr
    assert done.stderr.startswith("Timeout (0:00:00.5")
