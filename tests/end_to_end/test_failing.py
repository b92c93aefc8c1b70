"""A run that fails: what it knew is on disk, the terminal is as it was, and its one line is the last one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import eval as evaluation
import train_ddp
from asd.train.trainer import Trainer
from tests.end_to_end.test_bad_input import refused
from tests.support.hooks import no_scoring
from tests.support.launch import (
    ON_CPU,
    ROOT,
    children,
    kill,
    losses,
    records,
    run,
    torchrun,
    train_words,
    without_heads,
)
from tests.support.patience import wait_for

ENDLESS = ["train.epochs=10000", "evaluate.every_epochs=10000"]


def fail_at_the_fifth_step() -> None:
    """Of rank 1, if there is one, for a reason that sounds like a lost peer."""
    no_scoring()
    sound = Trainer._step

    def step(self: Trainer, *arguments: object) -> None:
        sound(self, *arguments)  # type: ignore[arg-type]
        if self.state.step == 5 and self.ranks.rank == self.ranks.world_size - 1:
            raise RuntimeError("the gloo of this igloo does not hold")

    Trainer._step = step  # type: ignore[assignment, method-assign]


def test_what_merely_mentions_gloo_keeps_its_traceback(small_set: Path, tmp_path: Path) -> None:
    words = train_words(small_set, tmp_path / "run")
    done = run(tmp_path / "log", words, ranks=2, prepare=fail_at_the_fifth_step)
    assert done.codes == [1, 1]
    assert "Traceback" in done.err[1] and "RuntimeError: the gloo of this igloo does not hold" in done.err[1]
    assert done.err[0].startswith("error: another rank exited, shutting down") and done.err[0].count("\n") == 1


def test_curves_are_whole(small_set: Path, tmp_path: Path) -> None:
    run(tmp_path / "log", train_words(small_set, tmp_path / "run"), prepare=fail_at_the_fifth_step)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "train")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(losses(tmp_path / "run")) == [1, 2, 3, 4]


def test_the_cursor_comes_back(small_set: Path, tmp_path: Path) -> None:
    """The bar hides it; here the run ends with a user's error."""
    words = train_words(small_set, tmp_path / "run", "optim={name: sgd, lr: 1.0e+30}", "train.max_nonfinite=1")
    terminal, theirs = pty.openpty()
    command = [sys.executable, str(ROOT / "train_ddp.py"), *words]
    job = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=os.environ | ON_CPU)
    os.close(theirs)
    shown = b""
    try:
        while more := os.read(terminal, 65536):
            shown += more
    except OSError:  # its end
        pass
    assert job.wait() == 2, shown
    assert b"not finite for 1 steps in a row" in shown
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l") >= 0


# ---- under torchrun


def last_line(log: Path) -> str:
    """The last line of what torchrun and its ranks printed, which stands there once."""
    lines = log.read_text(encoding="utf-8").splitlines()
    assert any("FAILED" in line for line in lines), "torchrun's own report"
    return lines[-1]


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_lost_rank_has_the_last_word(small_set: Path, tmp_path: Path, restarts: int) -> None:
    """Not before torchrun has given up."""
    folder, log = tmp_path / "run", tmp_path / "log"
    with torchrun(log, train_words(small_set, folder, *ENDLESS), restarts=restarts) as agent:
        for start in range(restarts + 1):
            wait_for(lambda start=start: log.read_text(encoding="utf-8").count("run folder ") == start + 1)
            seen = len(records(folder))
            wait_for(lambda seen=seen: len(records(folder)) > seen)
            kill(children(agent.pid)[1])
        assert agent.wait() == 1
    said = "[rank 0] error: another rank exited; run the same command to resume from the newest checkpoint"
    wait_for(lambda: last_line(log).endswith(said))
    assert log.read_text(encoding="utf-8").count(said) == 1


def test_check_knows_the_number_of_ranks(small_set: Path, tmp_path: Path) -> None:
    words = ["--check", *train_words(small_set, tmp_path / "run", "mixup=null")]
    line = refused(run(tmp_path / "log", words, ranks=3))
    assert "train.global_batch=16 cannot be divided by 3 ranks: use a multiple of 3, such as 18" in line
    assert "or start 1, 2, 4, 8, 16 ranks, as a run that goes on keeps its batch" in line


# ---- started by torch.distributed.launch


@pytest.mark.parametrize("words", [["--local-rank=1"], ["--local_rank=1"], ["--local-rank", "1"]])
def test_the_local_rank_is_taken_from_the_environment(words: list[str]) -> None:
    own = ["--config", "configs/demo.yaml", "train.epochs=3"]
    assert train_ddp.parse_args([*words, *own]) == train_ddp.parse_args([*own, *words]) == train_ddp.parse_args(own)
    score = ["score", "--run", "runs/demo", "evaluate.select=last"]
    parsed = [vars(evaluation.parse_args(line)) for line in ([*words, *score], [*score, *words], score)]
    assert parsed[0] == parsed[1] == parsed[2]


def test_torch_distributed_launch(small_set: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.launch", "--standalone", "--nproc_per_node=2"]
    command = [*launch, "train_ddp.py", "--check", *train_words(small_set, tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | ON_CPU, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert without_heads(done.stdout).startswith("ok: 4 classes")
