"""Warnings on thresholds fitted to too few recordings: a recording counts once, however long it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asd.metrics.decisions import Decisions
from asd.metrics.thresholds import AnyThreshold, FalseAlarmsConfig, Threshold
from asd.report.model import ReportWarning

ONE_RECORDING, FEW_RECORDINGS, NO_THRESHOLD = "one_recording", "few_recordings", "no_threshold"  # codes of warnings


def rule_in_words(threshold: Threshold, config: AnyThreshold) -> str:
    """How a threshold was found."""
    clips = f"{_counted(threshold.clips, 'normal clip')} of {_counted(threshold.recordings, 'recording')}"
    if isinstance(config, FalseAlarmsConfig):
        return f"by {clips}, {threshold.reason}"
    percent = config.percent
    if threshold.rule == "gamma":
        most = ", at most the largest of them" if threshold.recordings >= config.recordings_needed else ""
        return f"{percent:g} % point of a gamma distribution fitted to the scores of {clips}{most}"
    return f"{percent:g} % point of the scores of {clips}" + (threshold.reason and f": {threshold.reason}")


def threshold_warnings(decided: Decisions, config: AnyThreshold) -> list[ReportWarning]:
    """Warnings of a report on machines whose thresholds are fitted to too few recordings, or that have none."""
    none = [ReportWarning(code=NO_THRESHOLD, text=f"{'/'.join(own)}: {why}") for own, why in decided.refused.items()]
    return [*evidence_warnings(decided.by_name, config), *none]


def evidence_warnings(thresholds: Mapping[str, Threshold], config: AnyThreshold) -> list[ReportWarning]:
    """Warnings on machines (`fan/00`) whose thresholds are fitted to too few recordings."""
    needed = config.recordings_needed
    alone = [f"{machine} ({_counted(own.clips, 'clip')})" for machine, own in thresholds.items() if own.recordings == 1]
    few = [f"{name} ({x.recordings} recordings)" for name, x in thresholds.items() if 1 < x.recordings < needed]
    found = []
    if alone:
        text = (
            f"{', '.join(alone)}: threshold and held-out clips come from a single recording, so new recordings will "
            f"often lie above the threshold, normal or not; record the machine at {needed} times or more"
        )
        found.append(ReportWarning(code=ONE_RECORDING, text=text))
    if few:
        text = (
            f"{', '.join(few)}: the threshold is fitted to few recordings, where {needed} or more are needed "
            f"{config.purpose}; record the machine at more times"
        )
        found.append(ReportWarning(code=FEW_RECORDINGS, text=text))
    return found


def joined(doubts: Iterable[str]) -> list[str]:
    """Warnings on one machine each, as one line where they say the same of several."""
    machines: dict[str, list[str]] = {}
    for doubt in doubts:
        machine, _, said = doubt.partition(": ")
        machines.setdefault(said, []).append(machine)
    return [f"{', '.join(own)}: {said}" for said, own in machines.items()]


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"
