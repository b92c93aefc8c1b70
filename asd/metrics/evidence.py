"""What to say of thresholds that go by too few recordings: one recording is one piece of evidence, however long."""

from __future__ import annotations

import math
from collections.abc import Mapping

from asd.metrics.thresholds import Threshold

ONE_RECORDING, FEW_RECORDINGS = "one_recording", "few_recordings"  # codes of warnings
Warnings = list[dict[str, str]]


def recordings_needed(percent: float) -> int:
    """So many that one recording is expected above the point that `percent` of them lie below."""
    return math.ceil(100.0 / (100.0 - percent) - 1e-9)


def evidence_warnings(thresholds: Mapping[str, Threshold], percent: float) -> Warnings:
    """Warnings of a report (`code`, `text`) on machines (`fan/00`) whose thresholds rest on too few recordings."""
    needed = recordings_needed(percent)
    found: Warnings = []
    if alone := {machine: own for machine, own in thresholds.items() if own.recordings == 1}:
        names = ", ".join(f"{machine} ({own.clips} clip{'s' * (own.clips != 1)})" for machine, own in alone.items())
        text = (
            f"the thresholds of {names} go by a single recording each: new recordings will often lie above them, "
            f"normal or not; record these machines at {needed} times or more"
        )
        found.append({"code": ONE_RECORDING, "text": text})
    if few := {machine: own for machine, own in thresholds.items() if 1 < own.recordings < needed}:
        names = ", ".join(f"{machine} ({own.recordings} recordings)" for machine, own in few.items())
        text = (
            f"the thresholds of {names} go by few recordings: for {100 - percent:g} % of normal clips above, {needed} "
            "or more are needed; record these machines at more times"
        )
        found.append({"code": FEW_RECORDINGS, "text": text})
    return found
