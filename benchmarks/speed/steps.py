"""Training steps of real configs, taken by the real trainer, on whatever device there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from asd.commands.resident import hold, open_loader
from asd.config.build import set_up
from asd.config.load import load_config
from asd.config.run import RunConfig
from asd.distributed.ranks import Ranks
from asd.distributed.start import start_ranks
from asd.loggers.base import Loggers
from asd.optim.build import build_optimizer
from asd.process.stop import StopSignal
from asd.run_folder.checkpoint import CheckpointConfig
from asd.train.parts import Parts
from asd.train.trainer import Trainer
from benchmarks.results.runs import make_factory

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class Setting:
    """One way to train a config."""

    config: str
    batch: int
    precision: str = "fp32"
    compile: str = "off"  # a mode of model.compile
    words: tuple[str, ...] = ()  # further overrides

    def all_words(self) -> list[str]:
        """Overrides of the config."""
        return [
            f"train.global_batch={self.batch}",
            f"distributed.precision={self.precision}",
            f"model.compile={self.compile}",
            *self.words,
        ]

    def load(self, shards: Path) -> RunConfig:
        """The config with this setting; without lines of metrics."""
        words = [f"data.shards={shards}", "train.log_every=1000000", *self.all_words()]
        return load_config(CONFIGS / f"{self.config}.yaml", words)

    def with_(self, **changes: Any) -> Setting:
        return replace(self, **changes)


@dataclass
class Session:
    """A trainer, and the steps that it takes when asked: nothing is logged, saved or evaluated."""

    trainer: Trainer
    batch: int  # clips of this rank
    spent: list[dict[str, float]] = field(default_factory=list)  # what the trainer's clock says of every call

    def __post_init__(self) -> None:
        self.steps = self.trainer.steps()

    def take(self, steps: int) -> None:
        for _ in range(steps):
            next(self.steps)

    def clips_per_s(self, steps: int) -> float:
        """Of this rank, over some steps."""
        return self.batch / self.step_s(steps)

    def step_s(self, steps: int) -> float:
        """Mean seconds of a step; also leaves what they were spent on."""
        synchronise(self.trainer.ranks.device)
        self.trainer.interval.clock.read()
        self.take(steps)
        synchronise(self.trainer.ranks.device)
        self.spent.append(self.trainer.interval.clock.read())
        return self.spent[-1]["step_s"]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.trainer.parts.task.parameters() if p.requires_grad]


def open_session(setting: Setting, shards: Path, ranks: Ranks, warm_up: int = 2) -> Session:
    """The trainer of a setting after its first steps, which allocate, choose kernels and compile."""
    config = setting.load(shards)
    setup, stop = set_up(config), StopSignal()
    data, task = setup.data, setup.task.to(ranks.device)
    loader = open_loader(setup, ranks, hold(setup, ranks, stop), stop)
    crop = round(config.data.crop_s * data.manifest.sample_rate)
    optimizer = build_optimizer(config.optim, task.parameters())
    parts = Parts(
        task=task,
        optimizer=optimizer,
        loader=loader,
        plan=data.plan,
        crop=crop,
        max_bad_clips=0,
        ranks=ranks,
        loggers=Loggers(),
        stop=stop,
        evaluate=cast(Any, None),  # never asked by `steps`
        checkpoints=Path(),
        profile=Path(),
        meta={},
        config_yaml="",
    )
    trainer = Trainer(config.train, config.optim, CheckpointConfig(), parts, None)
    session = Session(trainer, setting.batch // ranks.world_size)
    session.take(warm_up)
    return session


@contextmanager
def sessions(settings: Sequence[Setting], shards: Path) -> Iterator[list[Session]]:
    """All of them at once, so that they can take turns.

    accelerate keeps one state a process; what differs, the precision, is bound when a model is wrapped, so the ranks
    of the last session serve all of them. (Not so in fp16, whose scaler asks each time.)
    """
    opened = []
    for number, setting in enumerate(settings, 1):
        with start_ranks(setting.precision, 600) as ranks:  # type: ignore[arg-type]
            opened.append(open_session(setting, shards, ranks))
            if number == len(settings):
                try:
                    yield opened
                finally:
                    for session in opened:
                        session.trainer.parts.loader.close()


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_set(work: Path, clips: int, clip_s: float) -> Path:
    """A packed set of 41 classes, so many training clips each."""
    options = {"train_clips": clips, "test_clips": 1, "clip_s": clip_s}
    return make_factory(work / f"steps_{clips}x{clip_s:g}s", options)
