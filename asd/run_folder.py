"""The folder of a run: where everything about it lies, and whose it is.

run.json, config.yaml · metrics.jsonl · tensorboard/{train,eval} · checkpoints/ · evaluations/ (see docs/files.md).
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd.errors import UserError
from asd.files import write_whole
from asd.locks import lock, warn_of_no_locks

PACKAGES = ("torch", "torchaudio", "accelerate", "webdataset", "numpy", "scikit-learn", "soundfile")


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    root: Path

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def evaluations(self) -> Path:
        return self.root / "evaluations"

    @property
    def identity(self) -> Path:
        return self.root / "run.json"

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    def tensorboard(self, writer: str) -> Path:
        return self.root / "tensorboard" / writer

    def evaluation(self, step: int) -> Path:
        return self.evaluations / f"step_{step:08d}"

    def check(self, identity: dict[str, Any]) -> None:
        """UserError where the folder belongs to a run on another data set, or of another network."""
        if self.identity.exists():
            check_identity(self.identity, identity)

    def claim(self, identity: dict[str, Any], config_yaml: str) -> None:
        """Make the folder this run's."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_whole(self.identity, json.dumps({**identity, **provenance()}, indent=1))
        write_whole(self.config, config_yaml)


class RunLock:
    """Held by rank 0 for as long as it trains in a folder; the system lets go of it when the process ends."""

    file = ".lock"
    what = "trainings"
    refusal = "another process is training in {root} just now: wait for it, or choose another run.dir"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptor: int | None = None

    def take(self) -> None:
        """UserError where another process holds it just now."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._root / self.file, os.O_RDWR | os.O_CREAT)
        held = lock(self._descriptor, wait=False)
        if held == "another's":
            raise UserError(self.refusal.format(root=self._root))
        if held == "none":
            warn_of_no_locks(self._root, self.what)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class WatchLock(RunLock):
    """Held by the process that scores a run's checkpoints beside its training."""

    file = ".watch.lock"
    what = "watchers"
    refusal = "another watcher is scoring {root} just now: one is enough"


def check_identity(path: Path, identity: dict[str, Any]) -> None:
    """Compare a run's run.json (or a checkpoint's meta.json) with what is about to continue it."""
    try:
        former = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"{path} is damaged: put it back, or choose another run.dir") from None
    for name, value in identity.items():
        if former.get(name) != value:
            raise UserError(
                f"{path.parent} belongs to a run with another {name} "
                f"({_short(former.get(name))}, now {_short(value)}): "
                "choose another run.dir"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else text[:12] + "…"


def provenance() -> dict[str, Any]:
    """Versions and commit that a run's numbers came from."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    if revision := os.environ.get("ASD_REVISION"):  # an image knows its own; it holds no .git
        return revision
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=here,
            capture_output=True,
            encoding="utf-8",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
