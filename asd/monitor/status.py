"""The state of a run in one small file: status.json (schema: docs/files.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pydantic

from asd.errors import UserError
from asd.files.atomic import write_whole

State = Literal["starting", "training", "evaluating", "saving", "scoring", "finished", "stopped", "failed"]
FILE = "status.json"


class Alert(pydantic.BaseModel, frozen=True):
    """Something that is wrong with a run, for as long as it is."""

    name: str
    since_step: int
    text: str


class Status(pydantic.BaseModel, frozen=True):
    """The state of a run. Numbers are those of metrics.jsonl, under the same names; None: not known yet."""

    format: Literal[1] = 1
    run: str
    host: str
    pid: int
    world_size: int
    device: str
    state: State = "starting"
    why: str | None = None  # it failed
    stage: str | None = "starting"  # of rank 0; None once it has ended well
    step: int = 0
    total_steps: int | None = None
    epoch: float | None = None
    loss: float | None = None
    clips_per_s: float | None = None
    data_wait_percent: float | None = None
    eta_s: float | None = None
    bad_clips: int = 0
    nonfinite_steps: int = 0
    checkpoint_step: int | None = None  # the newest
    scored_step: int | None = None  # the newest; its mean AUC and pAUC by the primary scorer
    auc: float | None = None
    pauc: float | None = None
    best_step: int | None = None
    unscored: int = 0  # evaluations that wait for their scores
    alerts: tuple[Alert, ...] = ()
    started_unix: float
    updated_unix: float  # when this was written
    progressed_unix: float  # when rank 0 last made progress: another stage, step or batch

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def started(self) -> str:
        return iso(self.started_unix)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def updated(self) -> str:
        return iso(self.updated_unix)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def progressed(self) -> str:
        return iso(self.progressed_unix)


def iso(unix: float) -> str:
    """2026-11-21T16:40:02Z"""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_status(folder: Path, status: Status) -> None:
    write_whole(folder / FILE, status.model_dump_json(indent=1) + "\n")


def read_status(path: Path) -> Status:
    """Raises UserError where the file is not a status of this version."""
    try:
        return Status.model_validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        raise UserError(
            f"{path} is not the status of a run: {'.'.join(map(str, problem['loc']))} {problem['msg']}"
        ) from None
