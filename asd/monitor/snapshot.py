"""Snapshot of a run: its newest checkpoint and scores."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunSnapshot:
    """What there is of checkpoints and scores by now."""

    checkpoint_step: int | None = None
    scored_step: int | None = None
    auc: float | None = None
    pauc: float | None = None
    best_step: int | None = None
    unscored: int = 0  # evaluations that wait for their scores
    max_unscored: int | None = None  # of more the oldest are removed
    by_watcher: bool = False  # whom they wait for
    warnings: dict[str, str] = field(default_factory=dict)  # of the newest report: code → text
