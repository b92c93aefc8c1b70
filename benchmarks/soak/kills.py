"""Processes that are killed, one or all."""

from __future__ import annotations

from benchmarks.soak.round import Round


def rank_killed(round: Round) -> None:
    """`kill -9` of a rank"""
    job = round.start()
    round.moment(job)
    round.strike(job.rank(1).kill)
    round.finishes(job, "lost its peers")


def rank_0_killed(round: Round) -> None:
    """`kill -9` of rank 0, which saves and scores"""
    job = round.start()
    round.moment(job)
    round.strike(job.rank(0).kill)
    round.finishes(job, "lost its peers")


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
