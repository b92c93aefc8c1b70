"""Ranks without progress: RUN/stalls/rank_1.txt says where one is stalled, with the stacks of its threads.

All ranks of a run soon wait for one of them. Each writes its own file; rank 0 reads them and names that rank.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pydantic

from asd.files.atomic import write_whole
from asd.monitor.stages import Position

NAMED = 8  # ranks by number


class Stall(pydantic.BaseModel, frozen=True):
    """First line of such a file."""

    rank: int
    host: str
    pid: int
    position: Position
    since_unix: float  # when the rank last made progress
    told_unix: float
    ended_unix: float | None = None

    @property
    def who(self) -> str:
        return f"rank {self.rank} on {self.host}"

    @property
    def where(self) -> str:
        return f"({self.position.words}, step {self.position.step})"


@dataclass(frozen=True)
class StallFiles:
    """The folder `stalls` of a run, as one rank sees it. Where it cannot be written, stderr has the same words."""

    folder: Path

    def write(self, stall: Stall, stacks: str) -> None:
        with suppress(OSError):
            self.folder.mkdir(exist_ok=True)
            write_whole(self._path(stall.rank), f"{stall.model_dump_json()}\n\n{stacks}")

    def end(self, stall: Stall, when: float) -> None:
        """Mark that the rank makes progress again; the stacks stay."""
        with suppress(OSError):
            _, _, stacks = self._path(stall.rank).read_text(encoding="utf-8").partition("\n\n")
            self.write(stall.model_copy(update={"ended_unix": when}), stacks)

    def under_way(self, since: float) -> dict[int, Stall]:
        """Ranks that are stalled, by files since a moment: those of an earlier start are ignored."""
        found = [stall for path in self.folder.glob("rank_*.txt") if (stall := _read(path)) is not None]
        return {stall.rank: stall for stall in found if stall.ended_unix is None and stall.told_unix >= since}

    def _path(self, rank: int) -> Path:
        return self.folder / f"rank_{rank}.txt"


def _read(path: Path) -> Stall | None:
    try:
        with path.open(encoding="utf-8") as file:
            return Stall.model_validate_json(file.readline())
    except (OSError, ValueError):
        return None


def stacks_of_all_threads() -> str:
    """Where each thread of this process is, the innermost call first."""
    with os.fdopen(os.memfd_create("stacks"), "w+b") as file:  # a disk may be full, or the cause
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().decode(errors="replace")


def blame(stalls: Mapping[int, Stall], world_size: int) -> str:
    """The rank that the others wait for: the one furthest behind, or without a report. stalls: at least one."""
    silent = [rank for rank in range(world_size) if rank not in stalls]
    first = min(stalls.values(), key=lambda stall: stall.position.order)
    if silent:
        return (
            f"no stall report from {_ranks(silent)}: process dead or frozen, or it cannot see the run folder; "
            f"{first.who} is stalled {first.where}"
        )
    culprits = [stall.rank for stall in stalls.values() if stall.position.order == first.position.order]
    stalled = f"{first.who} is stalled" if len(culprits) == 1 else f"{_ranks(culprits)} are stalled"
    waiting: dict[str, list[int]] = {}
    for rank, stall in stalls.items():
        if rank not in culprits:
            waiting.setdefault(stall.where, []).append(rank)
    others = [f"{_ranks(ranks)} {'wait' if len(ranks) > 1 else 'waits'} {where}" for where, ranks in waiting.items()]
    return "; ".join([f"{stalled} {first.where}", *others])


def _ranks(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    shown = ", ".join(map(str, sorted(ranks)[:NAMED]))
    return f"ranks {shown}" + (f" and {len(ranks) - NAMED} more" if len(ranks) > NAMED else "")
