"""One run that is broken once: what a fault finds, what is looked at afterwards, and what came of it."""

from __future__ import annotations

import math
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from asd.errors import UserError
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder
from benchmarks.soak.job import BEGINS, NAMES_A_STEP, Job, RoundError
from benchmarks.soak.place import KEEP_LAST, Curve, PackedSet, Place, complete, losses, records, reports, train_words

TOLERANCE = 1e-6  # of a loss: fp32 on the same machine gives the same bits, another order of sums would not


class SkippedError(Exception):
    """The machine does not allow this fault."""


@dataclass
class Round:
    """What a fault does its work with."""

    place: Place
    folder: Path
    dice: random.Random
    packed: PackedSet = field(init=False)
    curve: Curve = field(init=False)
    shards: Path | str = field(init=False)  # what is trained on
    run: Path = field(init=False)
    jobs: list[Job] = field(default_factory=list)
    since: float = 0.0  # when the fault was over, or the command was started again after it
    said: str = ""  # the line by which a user learns of the fault
    codes: list[int] = field(default_factory=list)  # exit codes in order
    equal_until: float = math.inf  # step up to which losses are those of the unbroken run
    held: list[int] = field(default_factory=list)  # complete checkpoints when the fault came

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.run = self.folder / "run"
        self.train_on(self.place.pcm)

    def train_on(self, packed: PackedSet, copied: bool = False) -> None:
        """Choose a set; a copy of it may be damaged."""
        self.packed, self.shards, self.curve = packed, packed.shards, packed.curve
        if copied:
            self.shards = self.folder / "set"
            shutil.copytree(packed.shards, self.shards)

    def start(self, *words: str, **variables: str) -> Job:
        """Start the command; again after a fault."""
        job = Job(train_words(self.shards, self.run, *words), self.folder / "log", **variables)
        self.jobs.append(job)
        self.since = time.monotonic()
        return job

    def moment(self, job: Job, first: int = 7, last: int = 0) -> None:
        """Wait for a step that the dice choose, up to `last`, and a moment within it."""
        step = self.dice.randint(first, last or self.curve.steps - 5)
        job.wait_for(lambda: job.step >= step, f"step {step}")
        time.sleep(self.dice.uniform(0, 0.1))

    def strike(self, hit: Callable[[], object]) -> None:
        """Let the fault happen, and remember what was complete just before."""
        self.held = complete(self.run)
        hit()
        self.since = time.monotonic()

    def ends(self, job: Job, code: int, says: str = "") -> None:
        """Wait for the end of a job, which must come with this code and a line that fits `says`.

        By that line, or the group in `says`, a user learns of the fault. Raises RoundError.
        """
        found = job.wait()
        self.codes.append(found)
        if found != code:
            raise RoundError(f"the run ended with {found}, not {code}: {' / '.join(job.text.splitlines()[-4:])}")
        match = next(filter(None, (re.search(says, line) for line in job.text.splitlines())), None)
        if match is None:
            raise RoundError(f"no line of the run says {says!r}")
        if says:
            self.said = self._without_paths(match[1] if match.re.groups else match.string)

    def finishes(self, job: Job, says: str = "") -> None:
        """The run must come to its end."""
        self.ends(job, 0, says)
        if f"finished at step {self.curve.steps};" not in job.text:
            raise RoundError("the run ended well, but not at its last step")

    def _without_paths(self, line: str) -> str:
        names = {str(self.run): "RUN", str(self.shards): "SET", str(self.folder): "…"}
        for path, name in names.items():
            line = line.replace(path, name)
        return re.sub(r"^(\S*\[rank\d+\]: ?|\d{4}-\d\d-\d\d [\d:]{8} (\[rank \d+\] )?)", "", line)[:240]

    def check(self) -> None:
        """What must be true after every fault. Raises RoundError."""
        self._check_curve()
        self._check_checkpoints()
        if lost := set(self.curve.evaluated) - set(reports(self.run)):
            raise RoundError(f"no report of step {sorted(lost)}")

    def _check_curve(self) -> None:
        curve, found = self.curve.losses, losses(self.run)
        if list(found) != list(curve):
            raise RoundError(f"metrics.jsonl has steps {list(found)}")
        if not all(loss is not None and math.isfinite(loss) for loss in found.values()):
            raise RoundError("a loss is not finite")
        for step, loss in curve.items():
            if step <= self.equal_until and not math.isclose(found[step], loss, rel_tol=TOLERANCE):
                raise RoundError(f"loss {found[step]} at step {step}, {loss} in the unbroken run")
        if math.isinf(self.equal_until) and any(record.get("bad_clips") for record in records(self.run)):
            raise RoundError("clips were counted as unreadable")

    def _check_checkpoints(self) -> None:
        """What was complete is there, or KEEP_LAST newer ones are; all that is there can be read."""
        root, after = RunFolder(self.run).checkpoints, complete(self.run)
        for step in set(self.held) - set(after):
            if sum(newer > step for newer in after) < KEEP_LAST:
                raise RoundError(f"the checkpoint of step {step} was complete and is gone; there are {after}")
        for step in after:
            try:
                checkpoint.load(checkpoint.step_path(root, step), torch.device("cpu"))
            except UserError as error:
                raise RoundError(str(error)) from None
        if after[-1:] != [self.curve.steps]:
            raise RoundError(f"no checkpoint of the last step: {after}")
        if left := [path.name for path in root.glob(".partial_*")]:
            raise RoundError(f"left in checkpoints: {left}")

    @property
    def lost_steps(self) -> int:
        """Steps that were done twice."""
        lost, last = 0, 0
        for part in _lives(self.jobs):
            lost += max(0, last - (part[0][1] - 1))
            last = part[-1][1]
        return lost

    @property
    def again_s(self) -> float | None:
        """Seconds from the end of the fault, or from the start of the command after it, to the next step.

        Where ranks were started again it is their first one: a step that was under way is no sign of recovery.
        """
        lives = _lives(self.jobs)
        again = [part[0][0] for part in lives if part[0][0] > self.since]
        moments = again or [when for part in lives for when, _ in part if when > self.since]
        return min(moments) - self.since if moments else None

    def close(self) -> None:
        """Leave no process."""
        for job in self.jobs:
            job.kill()


def _lives(jobs: list[Job]) -> list[list[tuple[float, int]]]:
    """(seconds, step) of every step shown, in one list for each time that the ranks were started and came so far."""
    parts: list[list[tuple[float, int]]] = [[]]
    for when, line in [line for job in jobs for line in job.lines]:
        if BEGINS in line:
            parts.append([])
        elif match := NAMES_A_STEP.search(line):
            parts[-1].append((when, int(match[1])))
    return [part for part in parts if part]
