"""Trackers of a run, one file each, chosen by their `name`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pydantic

from asd.loggers.base import Loggers, Source
from asd.loggers.console import ConsoleConfig
from asd.loggers.jsonl import METRICS_FILE, JsonlLogger
from asd.loggers.mlflow import MlflowConfig
from asd.loggers.tensorboard import TensorBoardConfig

TrackerConfig = Annotated[ConsoleConfig | TensorBoardConfig | MlflowConfig, pydantic.Field(discriminator="name")]


class LoggingConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Where the numbers of a run go beside metrics.jsonl, the record, which is always written."""

    # destinations; each gets all that it can show
    trackers: tuple[TrackerConfig, ...] = (ConsoleConfig(), TensorBoardConfig())

    @pydantic.field_validator("trackers")
    @classmethod
    def _told_apart(cls, trackers: tuple[TrackerConfig, ...]) -> tuple[TrackerConfig, ...]:
        names = [tracker.name for tracker in trackers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"names {twice} twice")
        return trackers

    def build(self, source: Source, loggers: Loggers) -> None:
        """Add every destination as soon as it is open: it is closed even where the next one cannot be opened."""
        if source.process == "train":
            loggers.add(JsonlLogger(source.folder / METRICS_FILE, source.first_step))
        for tracker in self.trackers:
            loggers.add(tracker.build(source))

    def viewers(self, folder: Path) -> list[str]:
        """Commands that show what the trackers wrote of the run in a folder."""
        return [view for tracker in self.trackers if (view := tracker.viewer(folder)) is not None]
