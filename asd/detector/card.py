"""A detector's card: what it was made from, how good it is where that is known, its thresholds and its limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from asd.detector.evidence import CONFIDENCE, Tested
from asd.detector.file import Calibration, DetectorFile, FittedScorer
from asd.errors import UserError
from asd.frontends.ignored import in_words
from asd.text.markdown import escaped, markdown_table

TITLE = "# Detector "  # begins every card, and no other file that one may write over
NOT_TESTED = (
    "Not tested: there is no evaluation of this checkpoint with labelled test clips, or the file is of a format before "
    "6. How well it finds faults is not known."
)


def card_path(out: Path) -> Path:
    """Where the card of a detector lies. UserError where another file of that name does."""
    path = out.with_suffix(".md")
    try:
        foreign = path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(TITLE)
    except OSError:
        foreign = True
    if foreign or path == out:
        raise UserError(
            f"{out}: its card would be written to {path}, which is no card of a detector: name another file"
        )
    return path


def card(file: DetectorFile, out: Path, exported: Sequence[str] = ()) -> str:
    """Markdown. exported: lines that tell of other files of the same detector."""
    calibrated = [escaped(_calibration(done)) for done in file.calibrations]
    parts = [
        f"{TITLE}{escaped(out.name)}",
        _data(file),
        *(["## Calibrations\n\n" + _listed(calibrated)] if calibrated else []),
        "## Scores\n\n" + (_scores(file, file.tested) if file.tested is not None else NOT_TESTED),
        "## Thresholds\n\n" + _thresholds(file, file.scorers[0]),
        "## Limits\n\n" + _listed(map(escaped, _limits(file))),
        *(["## Other files\n\n" + _listed(map(escaped, exported))] if exported else []),
        "## Versions\n\n" + _versions(file),
    ]
    return "\n\n".join(parts) + "\n"


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _data(file: DetectorFile) -> str:
    made, machines = file.provenance, len(file.classes)
    known = [file.learnt.get(own) for own in range(machines)]
    clips, hours = (sum(getattr(own, name) for own in known if own is not None) for name in ("clips", "hours"))
    channel = "" if file.heard is None else f", {file.heard.channel_in_words()}"
    rows = [
        (escaped(machine), *(("?",) * 3 if own is None else (str(own.clips), str(own.recordings), f"{own.hours:.2f}")))
        for machine, own in zip(file.classes, known, strict=True)
    ]
    return (
        f"From run {escaped(made.run)}, step {made.step}, trained on {escaped(made.data)} (fingerprint "
        f"{made.fingerprint[:12]}). It knows {clips} normal clips of {machines} machine{'s' * (machines != 1)}, "
        f"{hours:.2f} h at {file.sample_rate} Hz{channel}{', without those marked ?' * (None in known)}; a usual clip "
        f"has {file.clip_s:g} s.\n\n" + markdown_table(("machine", "normal clips", "recordings", "hours"), rows)
    )


def _calibration(done: Calibration) -> str:
    """What was done, in a line."""
    parts = [
        f"{done.recordings} recordings of normal sound" * bool(done.recordings),
        "the former normal recordings" * done.kept,
        f"{done.false_alarms} false alarms" * bool(done.false_alarms),
        f"{done.missed} missed faults" * bool(done.missed),
    ]
    return f"{done.when}: {done.machine} by {', '.join(filter(None, parts))}; {done.windows} normal clips in all"


def _scores(file: DetectorFile, tested: Tested) -> str:
    labels = [scorer.label for scorer in file.scorers if scorer.label in tested.aucs]
    rows = [(escaped(label), *(f"{100 * value:.1f}" for value in tested.aucs[label])) for label in labels]
    table = markdown_table(("scorer", "AUC", "from", "to"), rows)
    changed = dict.fromkeys(done.machine for done in file.calibrations)
    before = f" This was before the calibration of {escaped(', '.join(changed))}, which changed it." * bool(changed)
    found, alarms = tested.found, tested.false_alarms
    return (
        f"On {tested.normal} normal and {tested.anomalous} anomalous test clips of the same set.{before} AUC in "
        f"percent, mean over machines, and its {100 * CONFIDENCE:g} % interval (bootstrap of clips within each "
        f"machine: other machines or faults are not in it):\n\n{table}\n\nBy the thresholds of "
        f"{escaped(tested.primary)}, {found.count} of {found.of} anomalies are found and {alarms.count} of {alarms.of} "
        "normal clips are called anomalies."
    )


def _thresholds(file: DetectorFile, primary: FittedScorer) -> str:
    rows = [
        (escaped(own), escaped(primary.rules.get(index, "")), f"{primary.thresholds[index]:.5g}")
        for index, own in enumerate(file.classes)
        if index in primary.thresholds
    ]
    return f"Of {escaped(primary.label)}, the primary scorer:\n\n" + markdown_table(
        ("machine", "how it was found", "an anomaly is above"), rows, words=2
    )


def _limits(file: DetectorFile) -> list[str]:
    found = ["It knows the states, microphone, place and surroundings of its normal clips: others were not tested."]
    if file.tested is not None:
        without = [*file.tested.without_anomaly, *range(file.learnt_classes, len(file.classes))]
        if without:
            found.append(f"Without an anomalous test clip: {', '.join(str(file.classes[own]) for own in without)}.")
        found.append("Faults of another kind than the test clips' may be missed.")
    for own, bands in file.ignored.items():
        if bands:
            found.append(f"What {file.classes[own]} sounds like at {in_words(bands)} is not heard.")
    primary = file.scorers[0]
    if lacking := [str(own) for index, own in enumerate(file.classes) if index not in primary.thresholds]:
        found.append(f"Without a threshold: {', '.join(lacking)}.")
    if file.flipped:
        turned = ", ".join(str(file.classes[own]) for own in file.flipped)
        found.append(f"Scores count the other way round for {turned}.")
    return found + [f"{text}." for text in dict.fromkeys(primary.doubts.values())]


def _versions(file: DetectorFile) -> str:
    """Of training and export, and of the last calibration where there was one."""
    made, last = file.provenance, [done.by for done in file.calibrations[-1:]]
    columns = (made.trained, made.exported, *last)
    rows = [
        (escaped(name), *(escaped(by.versions.get(name, "")) for by in columns))
        for name in sorted({name for by in columns for name in by.versions})
    ]
    rows.append(("commit", *(escaped((by.git_commit or "")[:12]) for by in columns)))
    titles = ("", "trained with", "exported with", *["calibrated with"] * len(last))
    return markdown_table(titles, rows, words=len(titles))
