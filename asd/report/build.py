"""Clip scores → the content of report.json (schema: docs/files.md)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asd.dcase.halves import EVALUATION, half_rows
from asd.dcase.headline import headline_of
from asd.dcase.rules import official_of
from asd.metrics import ClipScores, summarise
from asd.metrics.detections import detections

FORMAT_VERSION = 2  # 2: warnings have codes; numbers by the year's rule, of the development half alone
ORACLE_WARNING = "ORACLE SELECTION: the checkpoint was chosen on the test set"

Report = dict[str, Any]


def build_report(clips: ClipScores, header: Mapping[str, Any], decision: np.ndarray | None = None) -> Report:
    """The content of report.json; `primary` and `baselines` always stand in it.

    header: what the caller knows (run, step, selection, layout, `primary`: scorer name, `baselines`: scorer names …).
    decision: (N,) the primary scorer's decisions, 1 anomaly, 0 normal, -1 none. Where both halves of a DCASE set have
    labels, the numbers are those of the development half, and `evaluation` holds the same of the other one.
    Raises UserError where a score is not finite, ValueError where header and body collide.
    """
    trained = [name for name in clips.scores if name not in header.get("baselines", [])]
    primary = header.get("primary") or next(iter([*trained, *clips.scores]), "")
    if clips.scores and primary not in clips.scores:
        raise ValueError(f"the primary scorer {primary} is none of {list(clips.scores)}")
    layout, rows = header.get("layout", ""), half_rows(header.get("layout", ""), clips)
    halves = {
        half: _numbers(
            layout, clips if len(rows) == 1 else clips.select(own), primary, None if decision is None else decision[own]
        )
        for half, own in rows.items()
    }
    body = halves.pop(next(iter(halves))) | halves
    if collision := {"format", "better", EVALUATION, *body} & set(header):
        raise ValueError(f"the report's header must not hold {sorted(collision)}: these are computed")
    report = {"format": FORMAT_VERSION, "baselines": [], **header, "primary": primary, **body}
    return report | {"better": _better(report)}


def _numbers(layout: str, clips: ClipScores, primary: str, decision: np.ndarray | None) -> Report:
    """Of one half: counts, every scorer's numbers by machine ID and by the year's rule, the worth of the decisions."""
    decided = {name: decision if name == primary else None for name in clips.scores}
    official = {name: official_of(layout, clips, name, own) for name, own in decided.items()}
    found = None if decision is None or not clips.known.any() else detections(clips, decision)
    return {**summarise(clips), "official": official, "decisions": found}


def _better(report: Report) -> Report | None:
    """The scorer that stands highest by the year's rule, where that is not the primary one."""
    layout, primary = report.get("layout", ""), report["primary"]
    quality = {name: headline_of(report, layout, name).quality for name in report["scorers"]}
    known = {name: value for name, value in quality.items() if value is not None}
    best = max(known, key=lambda name: (known[name], name == primary), default=primary)
    if best == primary or primary not in known:
        return None
    return {"scorer": best, "quality": known[best], "primary_quality": known[primary], "export": _export(report, best)}


def _export(report: Report, scorer: str) -> str | None:
    """The command that makes a detector of this checkpoint and the scorer; None where the report has no run."""
    if not report.get("run_folder"):
        return None
    words = ["--run", report["run_folder"], "--checkpoint", str(report["step"]), "--out", "detector.pt"]
    return shlex.join(["python", "eval.py", "export", *words, "--scorer", scorer])


def scorer_order(report: Report) -> list[str]:
    """Scorer names as tables show them: the primary, the other trained ones, the untrained baselines."""
    baselines = [name for name in report["scorers"] if name in report["baselines"]]
    trained = [name for name in report["scorers"] if name not in baselines]
    return sorted(trained, key=lambda name: name != report["primary"]) + baselines


def is_oracle(report: Report) -> bool:
    """Whether the checkpoint was chosen on the clips that are scored."""
    return bool((report.get("selection") or {}).get("oracle", False))


def flip_warning(classes: Sequence[str], whose: str = "") -> dict[str, str]:
    """The warning of a report that the scores of some classes count the other way round."""
    return {"code": "flipped", "text": f"{whose}the scores of {', '.join(classes)} are turned around (evaluate.flip)"}
