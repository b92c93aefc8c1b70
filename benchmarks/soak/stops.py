"""Signals that ask to stop, and processes that stand still."""

from __future__ import annotations

import signal
import time

from asd.checkpoint import is_complete, step_path
from asd.run_folder import RunFolder
from benchmarks.soak.job import Job
from benchmarks.soak.round import Round

SHORT_S = (2.0, 6.0)
FROZEN = ("train.timeout_s=15",)


def stopped_in_save(round: Round) -> None:
    """SIGTERM in the middle of a save; the same command again"""
    job = round.start()
    round.moment(job)
    saves = RunFolder(round.run).checkpoints
    job.wait_for(lambda: any(saves.glob(".partial_step_*")), "a save")
    round.strike(lambda: job.signal(signal.SIGTERM))
    _stopped_and_finished(round, job)


def stopped_in_evaluation(round: Round) -> None:
    """SIGTERM in the middle of an evaluation; the same command again"""
    job = round.start()
    saved = step_path(RunFolder(round.run).checkpoints, round.curve.evaluated[0])
    job.wait_for(lambda: is_complete(saved), "an evaluation")
    time.sleep(round.dice.uniform(0, 0.2))
    round.strike(lambda: job.signal(signal.SIGTERM))
    _stopped_and_finished(round, job)


def _stopped_and_finished(round: Round, job: Job) -> None:
    round.ends(job, 0, "stopped by SIGTERM at step")
    round.finishes(round.start())


def rank_paused(round: Round) -> None:
    """SIGSTOP of a rank for some seconds"""
    job = round.start()
    round.moment(job)
    rank = job.rank(round.dice.randint(0, 1))
    round.strike(rank.suspend)
    time.sleep(round.dice.uniform(*SHORT_S))
    rank.resume()
    round.over()
    round.finishes(job)


def rank_frozen(round: Round) -> None:
    """SIGSTOP of a rank for longer than train.timeout_s (15 s)"""
    job = round.start(*FROZEN, SHUTDOWN_TIMEOUT="5")
    round.moment(job)
    round.strike(job.rank(round.dice.randint(0, 1)).suspend)
    round.finishes(job, "lost its peers")
