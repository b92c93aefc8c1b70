"""Scored runs, as files."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import eval as evaluation
from asd.evaluate.store import CALIBRATION_FILE
from asd.metrics import ClipScores, scores_csv
from asd.metrics.decisions import machines_of
from asd.report import Header, write_report

MACHINES = (("fan", "00"), ("fan", "01"), ("valve", "00"))


SCALES = {"a": 1.0, "b": 100.0, "c": 0.01}  # runs whose scores share no scale


SKILL = {"a": {"fan": 0.3, "valve": 3.0}, "b": {"fan": 3.0, "valve": 0.0}, "c": {"fan": 1.0, "valve": 1.0}}


@dataclass(frozen=True)
class Runs:
    """Evaluation folders below a root, and what was written there."""

    root: Path
    test: dict[str, ClipScores] = field(default_factory=dict)
    calibration: dict[str, ClipScores] = field(default_factory=dict)

    def folders(self, *names: str) -> list[str]:
        return [str(self.root / name) for name in names]

    def z(self, name: str, scorer: str = "knn") -> dict[str, float]:
        """Clip key → score less the mean of its machine's normal clips, by their spread."""
        normal: dict[tuple[str, str], list[float]] = {}
        calibration, test = self.calibration[name], self.test[name]
        for machine, score in zip(machines_of(calibration), calibration.scores[scorer].tolist(), strict=True):
            normal.setdefault(machine, []).append(score)
        rows = zip(test.key, machines_of(test), test.scores[scorer].tolist(), strict=True)
        return {
            key: (score - statistics.fmean(normal[machine])) / statistics.pstdev(normal[machine])
            for key, machine, score in rows
        }


def write(
    runs: Runs, name: str, machines: tuple[tuple[str, str], ...] = MACHINES, hidden: bool = False, **header: Any
) -> None:
    """A scored evaluation of layout dcase2022; the clips are the same in every run, in an order of its own."""
    random = np.random.default_rng([7, *name.encode()])
    skill, scale = SKILL.get(name, SKILL["c"]), SCALES.get(name, 1.0)
    test, calibration = [], []
    for machine_type, machine_id in machines:
        offset = scale * random.normal()  # each machine has a level of its own
        for domain in ("source", "target"):
            for n in range(12):
                label = n % 2
                file = f"section_{machine_id}_{domain}_test_{('normal', 'anomaly')[label]}_{n:04d}.wav"
                scores = scale * (random.normal(size=2) + skill[machine_type] * label) + offset
                test.append((file, machine_type, machine_id, domain, -1 if hidden else label, *scores))
                file = f"section_{machine_id}_{domain}_train_normal_{n:04d}.wav"
                scores = scale * random.normal(size=2) + offset
                calibration.append((file, machine_type, machine_id, domain, 0, *scores))
    random.shuffle(test)
    runs.test[name], runs.calibration[name] = _clips(test), _clips(calibration)
    body = {"run": name, "layout": "dcase2022", "primary": "knn"}
    write_report(runs.root / name, runs.test[name], Header.model_validate(body | header))
    (runs.root / name / CALIBRATION_FILE).write_text(scores_csv(runs.calibration[name]))


def _clips(rows: list[tuple[Any, ...]]) -> ClipScores:
    file, machine_type, machine_id, domain, label, knn, other = (list(column) for column in zip(*rows, strict=True))
    keys = [f"{kind}-{name.removesuffix('.wav')}" for kind, name in zip(machine_type, file, strict=True)]
    scores = {"knn": np.array(knn), "other": np.array(other)}
    return ClipScores(keys, file, machine_type, machine_id, domain, np.array(label), scores)


def ensemble(out: Path, runs: list[str], *words: str) -> dict[str, Any]:
    """The command, and the report.json that it wrote."""
    assert evaluation.main(["ensemble", "--runs", *runs, "--out", str(out), *words]) == 0
    return json.loads((out / "report.json").read_text())
