"""Processes that are killed, are asked to stop, or stand still."""

from __future__ import annotations

import signal
import time

from asd.run_folder.checkpoint import is_complete, step_path
from asd.run_folder.paths import RunFolder
from benchmarks.soak.job import Job
from benchmarks.soak.round import Round

SHORT_S = (2.0, 6.0)
FROZEN = ("distributed.timeout_s=15",)


def rank_killed(round: Round) -> None:
    """`kill -9` of a rank"""
    job = round.start()
    round.moment(job)
    round.strike(job.rank(1).kill)
    round.finishes(job, "another rank exited")


def rank_0_killed(round: Round) -> None:
    """`kill -9` of rank 0, which saves and scores"""
    job = round.start()
    round.moment(job)
    round.strike(job.rank(0).kill)
    round.finishes(job, "another rank exited")


def agent_killed(round: Round) -> None:
    """`kill -9` of torchrun; the same command again"""
    job = round.start()
    round.moment(job)
    round.strike(job.agent().kill)
    round.ends(job, 137)
    round.finishes(round.start(), "resuming from step")


def scoring_killed(round: Round) -> None:
    """`kill -9` of the process that scores"""
    job = round.start()
    scoring = job.wait_for(job.scoring, "scoring")
    round.strike(scoring.kill)
    round.finishes(job, "scoring step .* was killed")


def power_cut(round: Round) -> None:
    """`kill -9` of everything at once; the same command again"""
    job = round.start()
    round.moment(job)
    round.strike(job.kill)
    round.finishes(round.start(), "resuming from step")


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
    round.since = time.monotonic()
    round.finishes(job)


def rank_frozen(round: Round) -> None:
    """SIGSTOP of a rank for longer than distributed.timeout_s (15 s)"""
    job = round.start(*FROZEN, SHUTDOWN_TIMEOUT="5")
    round.moment(job)
    round.strike(job.rank(round.dice.randint(0, 1)).suspend)
    round.finishes(job, "another rank exited")


FAULTS = (
    rank_killed,
    rank_0_killed,
    agent_killed,
    scoring_killed,
    power_cut,
    stopped_in_save,
    stopped_in_evaluation,
    rank_paused,
    rank_frozen,
)
