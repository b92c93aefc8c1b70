"""A detector's card: what it was made from, how good it is where that is known, its thresholds and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from asd.detector.file import DetectorFile, FittedScorer
from asd.errors import UserError
from asd.metrics import ClipScores
from asd.metrics.clip_scores import ANOMALY, NORMAL
from asd.text.markdown import escaped, markdown_table

TITLE = "# Detector "  # begins every card, and no other file that one may write over
RESAMPLES, BATCH = 1000, 20  # of the bootstrap; so many at once: 25 MB with 400 + 400 clips of a machine
CONFIDENCE = 0.95


class Learnt(NamedTuple):
    """Normal clips of a machine that the detector knows."""

    clips: int
    recordings: int
    hours: float


def card_path(out: Path) -> Path:
    """Where the card of a detector lies. UserError where another file of that name does."""
    path = out.with_suffix(".md")
    try:
        foreign = path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(TITLE)
    except OSError:
        foreign = True
    if foreign or path == out:
        raise UserError(
            f"--out {out}: its card would be written to {path}, which is no card of a detector: name another file"
        )
    return path


def card(
    file: DetectorFile, out: Path, learnt: Sequence[Learnt], tested: ClipScores | None, exported: Sequence[str] = ()
) -> str:
    """Markdown. learnt: of each class. tested: labelled test clips' scores, where there are any. exported: lines that
    tell of other files of the same detector."""
    parts = [
        f"{TITLE}{escaped(out.name)}",
        _data(file, learnt),
        "## Scores\n\n" + _scores(file, tested),
        "## Thresholds\n\n" + _thresholds(file, file.scorers[0]),
        "## Limits\n\n" + "\n".join(f"- {escaped(line)}" for line in _limits(file, tested)),
        *(["## Other files\n\n" + "\n".join(f"- {escaped(line)}" for line in exported)] if exported else []),
        "## Versions\n\n" + _versions(file),
    ]
    return "\n\n".join(parts) + "\n"


def _data(file: DetectorFile, learnt: Sequence[Learnt]) -> str:
    made, machines = file.provenance, len(file.classes)
    clips, hours = sum(own.clips for own in learnt), sum(own.hours for own in learnt)
    channel = "" if file.heard is None else f", {file.heard.channel_in_words()}"
    rows = [
        (escaped(machine), str(own.clips), str(own.recordings), f"{own.hours:.2f}")
        for machine, own in zip(file.classes, learnt, strict=True)
    ]
    return (
        f"From run {escaped(made.run)}, step {made.step}, trained on {escaped(made.data)} (fingerprint "
        f"{made.fingerprint[:12]}): {clips} normal clips of {machines} machine{'s' * (machines != 1)}, {hours:.2f} h "
        f"at {file.sample_rate} Hz{channel}; a usual clip has {file.clip_s:g} s.\n\n"
        + markdown_table(("machine", "normal clips", "recordings", "hours"), rows)
    )


def _scores(file: DetectorFile, tested: ClipScores | None) -> str:
    if tested is None:
        return (
            "Not tested: there is no evaluation of this checkpoint with labelled test clips. How well it finds faults "
            "is not known."
        )
    labels = [scorer.label for scorer in file.scorers if scorer.label in tested.scores]
    rows = []
    for label in labels:
        mean, (low, high) = auc_with_interval(tested, label)
        rows.append((escaped(label), *(f"{100 * value:.1f}" for value in (mean, low, high))))
    counts = [int((tested.label == which).sum()) for which in (NORMAL, ANOMALY)]
    table = markdown_table(("scorer", "AUC", "from", "to"), rows)
    return (
        f"On {counts[0]} normal and {counts[1]} anomalous test clips of the same set. AUC in percent, mean over "
        f"machines, and its {100 * CONFIDENCE:g} % interval (bootstrap of clips within each machine: other machines "
        f"or faults are not in it):\n\n{table}\n\n{_decisions(file, tested)}"
    )


def auc_with_interval(tested: ClipScores, label: str) -> tuple[float, tuple[float, float]]:
    """Mean AUC over the machines that have clips of both kinds, and its percentile interval (scipy's bootstrap)."""
    scores, samples = tested.scores[label], []
    for rows in (rows for ids in tested.groups.values() for rows in ids.values()):
        normal, anomalous = (scores[rows[tested.label[rows] == which]] for which in (NORMAL, ANOMALY))
        if len(normal) and len(anomalous):
            samples += [normal, anomalous]
    several = [np.repeat(one, 2) if len(one) == 1 else one for one in samples]  # scipy asks for two
    found = bootstrap(
        several, _mean_auc, n_resamples=RESAMPLES, batch=BATCH, vectorized=True, confidence_level=CONFIDENCE,
        method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(_mean_auc(*samples)), (float(found.confidence_interval.low), float(found.confidence_interval.high))


def _mean_auc(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    """Of normal and anomalous scores of each machine in turn, (…, n) each."""
    pairs = zip(samples[::2], samples[1::2], strict=True)
    return np.mean([_auc(np.moveaxis(normal, axis, -1), np.moveaxis(odd, axis, -1)) for normal, odd in pairs], axis=0)


def _auc(normal: np.ndarray, odd: np.ndarray) -> np.ndarray:
    difference = odd[..., None, :] - normal[..., :, None]
    return ((difference > 0) + 0.5 * (difference == 0)).mean((-2, -1))


def _decisions(file: DetectorFile, tested: ClipScores) -> str:
    """Of the primary scorer by the thresholds of the file."""
    primary = file.scorers[0]
    machines = [(own.machine_type, own.machine_id) for own in file.classes]
    limits = {machines[own]: value for own, value in primary.thresholds.items()}
    pairs = zip(tested.machine_type, tested.machine_id, strict=True)
    threshold = np.array([limits.get(pair, np.nan) for pair in pairs])
    if primary.label not in tested.scores:
        return ""
    above = tested.scores[primary.label] > threshold
    said = []
    for which, words in ((ANOMALY, "anomalies are found"), (NORMAL, "normal clips are called anomalies")):
        rows = (tested.label == which) & np.isfinite(threshold)
        said.append(f"{int(above[rows].sum())} of {int(rows.sum())} {words}")
    return f"By the thresholds of {escaped(primary.label)}, {' and '.join(said)}."


def _thresholds(file: DetectorFile, primary: FittedScorer) -> str:
    rows = [
        (escaped(own), escaped(primary.rules.get(index, "")), f"{primary.thresholds[index]:.5g}")
        for index, own in enumerate(file.classes)
        if index in primary.thresholds
    ]
    return f"Of {escaped(primary.label)}, the primary scorer:\n\n" + markdown_table(
        ("machine", "how it was found", "an anomaly is above"), rows, words=2
    )


def _limits(file: DetectorFile, tested: ClipScores | None) -> list[str]:
    found = ["It knows the states, microphone, place and surroundings of its training clips: others were not tested."]
    if tested is not None:
        odd = np.flatnonzero(tested.label == ANOMALY)
        known = {(tested.machine_type[row], tested.machine_id[row]) for row in odd}
        without = [str(own) for own in file.classes if (own.machine_type, own.machine_id) not in known]
        if without:
            found.append(f"Without an anomalous test clip: {', '.join(without)}.")
        found.append("Faults of another kind than the test clips' may be missed.")
    primary = file.scorers[0]
    if lacking := [str(own) for index, own in enumerate(file.classes) if index not in primary.thresholds]:
        found.append(f"Without a threshold: {', '.join(lacking)}.")
    if file.flipped:
        turned = ", ".join(str(file.classes[own]) for own in file.flipped)
        found.append(f"Scores count the other way round for {turned}.")
    return found + [f"{text}." for text in dict.fromkeys(primary.doubts.values())]


def _versions(file: DetectorFile) -> str:
    made = file.provenance
    rows: list[tuple[str, ...]] = [
        (escaped(name), escaped(made.trained.versions.get(name, "")), escaped(made.exported.versions.get(name, "")))
        for name in sorted(made.trained.versions.keys() | made.exported.versions.keys())
    ]
    rows.append(("commit", *(escaped((by.git_commit or "")[:12]) for by in (made.trained, made.exported))))
    return markdown_table(("", "trained with", "exported with"), rows, words=3)
