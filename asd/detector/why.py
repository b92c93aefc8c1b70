"""Why recordings are called anomalies: explanations in words and as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from asd.audio.header import BadFileError
from asd.audio.recording import Target
from asd.audio.windows import Cut, open_recording
from asd.detector import Detector
from asd.detector.explain import Explanation, Region, Score, explain
from asd.detector.judge import BATCH_AUDIO_S, ClipResult

ALL_THE_TIME = 0.9  # of a window
WORTH_TELLING = 0.05  # of the excess


def explain_results(detector: Detector, results: Sequence[ClipResult], target: Target, cut: Cut) -> None:
    """Explain every anomaly by its oddest window; where that cannot be read a second time, a remark says so. UserError
    where the detector keeps no normal recordings to compare with."""
    for result in results:
        if result.decision != "anomaly":
            continue
        normals = detector.file.normals_of(result.asked.own, detector.source)
        begin_s = result.begins_s[int(np.argmax(result.scores))]
        try:
            windows = open_recording(result.path, target).windows(cut)
            window = next((window for window in windows if window.begin_s == begin_s), None)
            why_not = "it has become shorter"
        except BadFileError as error:
            window, why_not = None, error.detail
        if window is None:
            result.remarks = [*result.remarks, f"not explained, since it has changed meanwhile: {why_not}"]
            continue
        score, rate = scoring(detector.set_on(result.asked.own)), detector.file.sample_rate
        result.why = explain(window.near, rate, score, normals, window.begin_s)


def explainer(detector: Detector) -> Callable[[np.ndarray], dict[str, Any] | None]:
    """Of samples (T,) int16 of the detector's machine, why they have their score (`as_numbers`); None where the
    detector keeps nothing normal to compare with, or hears two microphones, of which it keeps one."""
    normals = None if detector.file.reference_weight is not None else detector.file.normals.get(detector.own)

    def explained(samples: np.ndarray) -> dict[str, Any] | None:
        if normals is None:
            return None
        return as_numbers(explain(samples, detector.file.sample_rate, scoring(detector), normals))

    return explained


def scoring(detector: Detector) -> Score:
    """How the detector scores windows (n, T) int16 of its machine."""

    def score(windows: np.ndarray) -> np.ndarray:
        room = max(1, int(BATCH_AUDIO_S * detector.file.sample_rate / windows.shape[1]))
        return detector.score([detector.embed(windows[k : k + room], k) for k in range(0, len(windows), room)])

    return score


def in_words(found: Explanation) -> str:
    """The first region in a sentence, the others behind it; what is said where there is none."""
    if not found.regions:
        return "no band makes it: as the closest normal recording it would score no less"
    top, *others = found.regions
    first = (
        f"{hertz(top)} is {level(top)} the closest normal recording ({found.nearest}), {when(top, found)}; "
        f"{100 * top.share:.0f} % of the score's excess"
    )
    told = [region for region in others if region.share >= WORTH_TELLING]
    behind = [f"{hertz(region)}, {level(region)} it, {100 * region.share:.0f} %" for region in told]
    return "; then ".join([first, *behind])


def hertz(region: Region) -> str:
    """`310–350 Hz`, `2.1–2.6 kHz`."""
    if region.high_hz < 1000:
        return f"{region.low_hz:.0f}–{region.high_hz:.0f} Hz"
    digits = 2 if region.high_hz - region.low_hz < 200 else 1
    return f"{region.low_hz / 1000:.{digits}f}–{region.high_hz / 1000:.{digits}f} kHz"


def level(region: Region) -> str:
    """`7 dB above`, `3 dB below`."""
    return f"{abs(region.level_db):.0f} dB {'above' if region.level_db >= 0 else 'below'}"


def when(region: Region, found: Explanation) -> str:
    """`most from 3.2 s to 5.0 s`, `all the time`."""
    if region.end_s - region.begin_s >= ALL_THE_TIME * found.seconds:
        return "all the time"
    return f"most from {region.begin_s:.1f} s to {region.end_s:.1f} s"


def as_numbers(found: Explanation) -> dict[str, Any]:
    """For json."""
    return {
        "sentence": in_words(found),
        "window_begin_s": found.begin_s,
        "window_score": found.score,
        "excess": found.score - found.as_normal,
        "closest_normal": found.nearest,
        "bands": [dict(vars(region)) for region in found.regions],
        "rest": found.rest,
    }
