"""Where the soak works: the little sets that it trains on, and the curve of a run that nothing breaks."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from asd.errors import UserError
from asd.loggers.jsonl import METRICS_FILE
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder
from benchmarks.soak.job import Job, RoundError
from shards import pack
from shards.synth import __main__ as synth

CONFIG = Path(__file__).with_name("tiny.yaml")
SYNTH = "--clip-s 0.5 --train-clips 4 --test-clips 1"
KEEP_LAST = 3  # as in CONFIG
SETTINGS: list[str] = []  # over it


@dataclass(frozen=True)
class Curve:
    """What an unbroken run leaves."""

    losses: dict[int, float]
    evaluated: list[int]  # steps

    @property
    def steps(self) -> int:
        return max(self.losses)


@dataclass(frozen=True)
class PackedSet:
    """A set, and what a run on it looks like."""

    shards: Path
    work: Path

    @cached_property
    def curve(self) -> Curve:
        """Trained once, when it is first asked for. Raises UserError where that fails: nothing can be measured then."""
        folder = self.work / f"unbroken_{self.shards.name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        job = Job(train_words(self.shards, folder / "run"), folder / "log")
        try:
            problem: int | str = job.wait()
        except RoundError as error:
            problem = str(error)
        finally:
            job.kill()
        if problem:
            raise UserError(f"the unbroken run failed ({problem}): see {folder / 'log'}")
        return Curve(losses(folder / "run"), reports(folder / "run"))


class Place:
    """A working folder with the recordings packed as PCM and as FLAC."""

    def __init__(self, work: Path) -> None:
        self.work = work.resolve()
        self.pcm, self.flac = (PackedSet(self._packed(codec), self.work) for codec in ("pcm16", "flac"))

    def _packed(self, codec: str) -> Path:
        out, factory = self.work / codec, self.work / "factory"
        if not (out / "manifest.json").is_file():
            if not factory.is_dir():
                synth.main(["--out", str(factory), *SYNTH.split()])
            words = f"--layout dcase2020 --codec {codec} --shard-mib 1".split()
            pack.main([*words, "--source", str(factory), "--out", str(out)])
        return out


def train_words(shards: Path | str, run: Path, *more: str) -> list[str]:
    """The words of train_ddp.py for a run on a set."""
    return ["--config", str(CONFIG), f"data.shards={shards}", f"run.dir={run}", *SETTINGS, *more]


def records(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl."""
    return [json.loads(line) for line in (run / METRICS_FILE).read_text(encoding="utf-8").splitlines()]


def losses(run: Path) -> dict[int, float]:
    """Training loss by step. Raises RoundError where a step stands there twice."""
    found = [(record["step"], record["loss"]) for record in records(run) if "loss" in record]
    if len(dict(found)) < len(found):
        raise RoundError("metrics.jsonl has a step twice")
    return dict(found)


def complete(run: Path) -> list[int]:
    """Steps of complete checkpoints, ascending; the others, which a user hears of, are skipped."""
    root = RunFolder(run).checkpoints
    return [step for step in checkpoint.all_steps(root) if checkpoint.is_complete(checkpoint.step_path(root, step))]


def reports(run: Path) -> list[int]:
    """Steps that were scored."""
    return sorted(int(p.parent.name.removeprefix("step_")) for p in run.glob("evaluations/step_*/report.json"))
