"""Clip scores → the content of report.json."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import numpy as np

from asd.dcase.halves import half_rows
from asd.dcase.rules import official_of
from asd.metrics import ClipScores
from asd.metrics.detections import detections
from asd.metrics.summary import count_labels, not_scored, summarise
from asd.report.model import FORMAT_VERSION, BetterScorer, Half, Header, Report, ReportWarning

ORACLE_WARNING = "ORACLE SELECTION: the checkpoint was chosen on the test set"


def build_report(clips: ClipScores, header: Header, decision: np.ndarray | None = None) -> Report:
    """The content of report.json; `primary` and `baselines` are always given.

    decision: (N,) the primary scorer's decisions, 1 anomaly, 0 normal, -1 none. Where both halves of a DCASE set have
    labels, the numbers are those of the development half, and `evaluation` holds the same of the other one.
    Raises UserError where a score is not finite, ValueError where the clips have no score of the primary scorer.
    """
    trained = [name for name in clips.scores if name not in header.baselines]
    primary = header.primary or next(iter([*trained, *clips.scores]), "")
    if clips.scores and primary not in clips.scores:
        raise ValueError(f"primary scorer {primary} has no scores: there are {list(clips.scores)}")
    first, *other = (
        _numbers(header.layout, clips.select(rows), primary, None if decision is None else decision[rows])
        for rows in half_rows(header.layout, clips).values()
    )
    given = {name: getattr(header, name) for name in header.model_fields_set}
    given |= {"format": FORMAT_VERSION, "primary": primary, "baselines": header.baselines, **dict(first)}
    given |= {"better": _better(header, primary, first), **({"evaluation": other[0]} if other else {})}
    return Report(**given)


def _numbers(layout: str, clips: ClipScores, primary: str, decision: np.ndarray | None) -> Half:
    """Of one half: counts, every scorer's numbers by machine ID and by the year's rule, the worth of the decisions."""
    decided = {name: decision if name == primary else None for name in clips.scores}
    return Half(
        test=count_labels(clips.label),
        not_scored=not_scored(clips),
        scorers=summarise(clips),
        official={name: official_of(layout, clips, name, own) for name, own in decided.items()},
        decisions=None if decision is None or not clips.known.any() else detections(clips, decision),
    )


def _better(header: Header, primary: str, half: Half) -> BetterScorer | None:
    """The best scorer by the year's rule, where that is not the primary one."""
    quality = {name: half.headline(header.layout, name).quality for name in half.scorers}
    known = {name: value for name, value in quality.items() if value is not None}
    best = max(known, key=lambda name: (known[name], name == primary), default=primary)
    if best == primary or primary not in known:
        return None
    command = None
    if header.run_folder:
        words = ["--run", header.run_folder, "--checkpoint", str(header.step), "--out", "detector.pt"]
        command = shlex.join(["python", "eval.py", "export", *words, "--scorer", best])
    return BetterScorer(scorer=best, quality=known[best], primary_quality=known[primary], export=command)


def flip_warning(classes: Sequence[str], whose: str = "") -> ReportWarning:
    """The warning of a report that the scores of some classes are inverted."""
    text = f"{whose}the scores of {', '.join(classes)} are inverted (evaluate.flip)"
    return ReportWarning(code="flipped", text=text)
