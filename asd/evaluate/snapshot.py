"""Snapshot of a run: newest checkpoint, newest scores, best step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asd.evaluate.config import EvaluateConfig
from asd.evaluate.history import best_step, evaluated_steps, waiting_steps
from asd.metrics import AUC, PAUC
from asd.monitor.snapshot import RunSnapshot
from asd.report import REPORT_FILE, read_report
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder
from asd.train.cadence import Every


class SnapshotOf:
    """Looks into a run folder; reads reports only where one has come since the last look."""

    def __init__(self, folder: RunFolder, config: EvaluateConfig, schedule: Every) -> None:
        self._folder, self._config, self._schedule = folder, config, schedule
        self._seen: list[tuple[Path, int]] = []
        self._scores: dict[str, Any] = {}

    def __call__(self) -> RunSnapshot:
        reports = sorted((path, path.stat().st_mtime_ns) for path in self._folder.evaluations.glob(f"*/{REPORT_FILE}"))
        if reports != self._seen:
            self._seen, self._scores = reports, self._read()
        waiting = waiting_steps(self._folder, self._schedule.due if self._config.by_watcher else None)
        root = self._folder.checkpoints
        steps = reversed(checkpoint.all_steps(root))
        newest = next((step for step in steps if checkpoint.is_complete(checkpoint.step_path(root, step))), None)
        return RunSnapshot(
            checkpoint_step=newest,
            unscored=len(waiting),
            max_unscored=self._config.max_unscored,
            by_watcher=self._config.by_watcher,
            **self._scores,
        )

    def _read(self) -> dict[str, Any]:
        for step in reversed(evaluated_steps(self._folder)):
            if (report := read_report(self._folder.evaluation(step))) is not None:
                numbers = report.primary_headline
                return {
                    "scored_step": step,
                    "auc": numbers[AUC.key],
                    "pauc": numbers[PAUC.key],
                    "best_step": best_step(self._folder, self._config.select),
                    "warnings": {warning.code: warning.text for warning in report.warnings},
                }
        return {}
