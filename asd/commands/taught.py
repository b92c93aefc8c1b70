"""A scorer of a detector, taught one machine anew: its model, its threshold, and what is to be known of both."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asd.commands.normal_sound import Heard
from asd.data.manifest import MachineClass
from asd.detector import DetectorFile, FittedScorer
from asd.detector.calibration import lowered, refit
from asd.errors import UserError
from asd.metrics.thresholds import AnyThreshold, fit_threshold
from asd.report.evidence import evidence_warnings, rule_in_words
from asd.scorers import learns_from_faults
from asd.scorers.fused import Fused
from asd.scorers.per_clip import score_of_clips
from asd.scorers.state import restored

log = logging.getLogger(__name__)


def taught(scorer: FittedScorer, file: DetectorFile, own: int, heard: Heard, rule: AnyThreshold) -> FittedScorer:
    """The scorer with its new state and threshold of one machine, which is printed."""
    machine, (core, rows) = file.classes[own], heard.tables(own)
    state, scores = refit(scorer, own, core, rows, file.flipped)
    name, finite = f"{machine}, scorer {scorer.label}", np.isfinite(scores)
    normal, recording = scores[finite], heard.recording.numpy()[finite]
    missed = _missed_scores(scorer, file, own, state, heard)
    found = _below_missed(_threshold(machine, name, normal, recording, rule), name, missed, normal, rule)
    print(f"{machine}: {scorer.label} above {found.value:.5g} is an anomaly, {found.words}")
    doubts = {known: said for known, said in scorer.doubts.items() if known != own}
    return scorer.model_copy(
        update={
            "state": {**scorer.state, own: state},
            "thresholds": {**scorer.thresholds, own: found.value},
            "rules": {**scorer.rules, own: found.words},
            "doubts": doubts if found.doubt is None else {**doubts, own: found.doubt},
        }
    )


def check_known_faults(file: DetectorFile, own: int, heard: Heard) -> None:
    """Say which scorers learnt from faults that nobody names any more."""
    forgotten = [scorer.label for scorer in file.scorers if heard.missed is None and _knows_faults(scorer, own)]
    if forgotten:
        log.warning(
            "%s: %s had learnt from known faults, which a detector does not keep: name them by --missed, or normal "
            "recordings alone count from here on",
            file.classes[own], ", ".join(forgotten),
        )  # fmt: skip


class _Threshold(NamedTuple):
    value: float
    words: str  # how it was found
    doubt: str | None


def _threshold(
    machine: MachineClass, name: str, normal: np.ndarray, recording: np.ndarray, rule: AnyThreshold
) -> _Threshold:
    """By normal scores (n,) and the recording (n,) of each. UserError where they do not support the rule."""
    try:
        found = fit_threshold(normal, rule, recording.tolist())
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    doubt = evidence_warnings({str(machine): found}, rule)
    return _Threshold(found.value, rule_in_words(found, rule), doubt[0].text if doubt else None)


def _below_missed(
    found: _Threshold, name: str, missed: Sequence[float], normal: np.ndarray, rule: AnyThreshold
) -> _Threshold:
    """The threshold, lowered for missed faults as far as its rule allows; says which of them stay below it."""
    allowed = rule.may_be_above(len(normal))
    value, below = lowered(found.value, missed, normal, allowed)
    for score in below:
        log.warning(
            "%s: a missed fault stays below the threshold: it scores %.5g, as do %d of %d normal clips or more, where "
            "%d may lie above",
            name, score, int(np.sum(normal >= score)), len(normal), allowed,
        )  # fmt: skip
    if value == found.value:
        return found
    return found._replace(value=value, words=f"{found.words}; lowered from {found.value:.5g} for missed faults")


def _missed_scores(scorer: FittedScorer, file: DetectorFile, own: int, state: object, heard: Heard) -> list[float]:
    """Of each missed recording, the mean over its windows."""
    if heard.missed is None:
        return []
    table = heard.missed.table(own, heard.views)
    scores = score_of_clips(restored(scorer.config, {own: state}), table, file.flipped)
    recording = table.per_clip().recording.numpy()
    return [float(scores[recording == one].mean()) for one in np.unique(recording)]


def _knows_faults(scorer: FittedScorer, own: int) -> bool:
    if own not in scorer.state or not learns_from_faults(scorer.config):
        return False
    known = restored(scorer.config, {own: scorer.state[own]})
    return bool(known.with_faults) if isinstance(known, Fused) else known.models[own] is not None
