"""The paths of a run folder.

run.json, config.yaml, pseudo_labels.csv (data.pseudo_labels) · checkpoints/ · evaluations/, and what loggers and
monitor write (see docs/files.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd.files.atomic import write_whole
from asd.run_folder.provenance import check_identity, provenance


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
    def pseudo_labels(self) -> Path:
        return self.root / "pseudo_labels.csv"

    @property
    def profile(self) -> Path:
        return self.root / "profile"

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
