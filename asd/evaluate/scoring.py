"""From the embeddings of an evaluation to its report: fit the scorers, score the test clips, write and show.

Runs in a process of its own beside training or a watcher (`python -m asd.evaluate.scoring FOLDER RUN SHARDS LOGGING`:
the evaluation's folder, the run's, the set, and where the numbers go), or in `eval.py score`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asd.data.manifest import Manifest
from asd.data.splits import subset_per_class
from asd.errors import run_main
from asd.evaluate.diagnosis import compare, diagnose
from asd.evaluate.faults import known_faults_in_words
from asd.evaluate.publish import save_scores, show
from asd.evaluate.store import CALIBRATION_FILE, EMBEDDINGS_FILE, Evaluation, read_embeddings
from asd.files.atomic import write_whole
from asd.loggers import LoggingConfig
from asd.loggers.base import Logger, Loggers, Source
from asd.metrics import ClipScores, scores_csv
from asd.metrics.decisions import Decisions, decide_clips
from asd.process import logs
from asd.report import Choice, Header, Report, build_report, figures, flip_warning, save_report
from asd.report.evidence import threshold_warnings
from asd.scorers import EmbeddingTable, Scorer, ScorerConfig, build_scorer, falls_back, scorer_label
from asd.scorers.learnt import Learnt, learnt
from asd.scorers.per_clip import score_of_clips
from asd.tasks.encoder import NETWORK_VIEW

# Normal training clips of each class and domain to which thresholds and the scales of ensembles are fitted.
CALIBRATION_CLIPS = 200


def score_folder(folder: Path, loggers: Logger | None = None, tsne: bool = False, shards: Path | None = None) -> Report:
    """Score an embedded evaluation; writes scores.csv, report.md, report.json and figures/*.png, returns the report.

    tsne: also the t-SNE of the test embeddings, which takes seconds. shards: see read_embeddings.
    """
    evaluation, manifest, fit, validation, test = read_embeddings(folder, shards)
    known, new = learnt_from(evaluation, fit, validation)
    clips, calibration = score_clips(manifest, evaluation, known, new, test)
    fit, validation, test = (part.seen_through(NETWORK_VIEW).per_clip() for part in (fit, validation, test))
    decided = decide_clips(clips, calibration, scorer_label(evaluation.scorers[0]), evaluation.threshold)
    header = _header(evaluation, manifest, learnt(fit.join(validation)), decided)
    report = build_report(clips, header, decided.decision)
    classes = [(own.machine_type, own.machine_id) for own in manifest.classes]
    pictures = figures.evaluation_figures(clips, report, classes, validation, test, evaluation.logit_scale, tsne)
    save_scores(folder / "figures", pictures)
    write_whole(folder / CALIBRATION_FILE, scores_csv(calibration))
    if loggers is not None:
        show(loggers, evaluation, clips, report, pictures, test)
    save_report(folder, clips, report, decided.decision)  # last: what has no report.json is scored again on resume
    (folder / EMBEDDINGS_FILE).unlink(missing_ok=True)  # a watcher and a training that begins again may both be here
    return report


def learnt_from(
    evaluation: Evaluation, fit: EmbeddingTable, validation: EmbeddingTable
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """The clips that scorers are fitted to, and the other normal ones."""
    if not evaluation.fit_held_out:
        return fit, validation
    return fit.join(validation), validation.select(torch.arange(0))


def score_clips(
    manifest: Manifest, evaluation: Evaluation, fit: EmbeddingTable, validation: EmbeddingTable, test: EmbeddingTable
) -> tuple[ClipScores, ClipScores]:
    """The scores of all scorers for the test clips, and for normal training clips, each as if its recording were new to
    the scorer. A clip's score is the mean over its windows."""
    return scores_by(fitted(evaluation.scorers, fit), manifest, evaluation, fit, validation, test)


def fitted(configs: Sequence[ScorerConfig], fit: EmbeddingTable) -> Iterator[tuple[ScorerConfig, Scorer]]:
    """One scorer after the other, so that a caller that keeps none has one in memory."""
    return ((config, _fitted(config, fit)) for config in configs)


def _fitted(config: ScorerConfig, fit: EmbeddingTable) -> Scorer:
    scorer = build_scorer(config)
    scorer.fit(fit)
    return scorer


def scores_by(
    scorers: Iterable[tuple[ScorerConfig, Scorer]],
    manifest: Manifest,
    evaluation: Evaluation,
    fit: EmbeddingTable,
    validation: EmbeddingTable,
    test: EmbeddingTable,
) -> tuple[ClipScores, ClipScores]:
    """The same by scorers that are fitted already."""
    few = None if evaluation.threshold.name == "false_alarms" else CALIBRATION_CLIPS  # a rare share takes all there are
    normal = _some_of_each_class(manifest, fit, validation, few)
    flipped = [index for index, own in enumerate(manifest.classes) if str(own) in evaluation.flip]
    scores: tuple[dict[str, np.ndarray], ...] = ({}, {})
    for config, scorer in scorers:
        for rows, train, columns in zip((test, normal), (None, fit), scores, strict=True):
            columns[scorer_label(config)] = score_of_clips(scorer, rows, flipped, train)
        del scorer  # before the next one is fitted
    finite = np.logical_and.reduce([np.isfinite(column) for column in scores[1].values()])  # a class's only recording
    calibration = {name: column[finite] for name, column in scores[1].items()}
    clips = normal.clips()[0].numpy()[finite]
    named = _clip_scores(manifest, clips, calibration)
    recording = [own or key for own, key in zip(manifest.strings("recording", clips), named.key, strict=True)]
    return _clip_scores(manifest, test.clips()[0].numpy(), scores[0]), replace(named, recording=recording)


def _some_of_each_class(
    manifest: Manifest, fit: EmbeddingTable, validation: EmbeddingTable, few: int | None
) -> EmbeddingTable:
    clips = torch.cat([fit.clip_index, validation.clip_index]).unique()
    chosen = torch.from_numpy(subset_per_class(manifest, clips.numpy(), 0, few))
    some, others = (part.select(torch.isin(part.clip_index, chosen)) for part in (fit, validation))
    return some.join(others)  # chosen first: all of them joined would be 300 MB in 2048-d


def _clip_scores(manifest: Manifest, clips: np.ndarray, scores: dict[str, np.ndarray]) -> ClipScores:
    return ClipScores(
        key=manifest.strings("key", clips),
        file_name=manifest.strings("file_name", clips),
        machine_type=manifest.strings("machine_type", clips),
        machine_id=manifest.strings("machine_id", clips),
        domain=manifest.strings("domain", clips),
        label=manifest.label[clips].astype(np.int64),
        scores=scores,
    )


def _header(evaluation: Evaluation, manifest: Manifest, found: Learnt | None, decided: Decisions) -> Header:
    clean = evaluation.validation
    warnings = [flip_warning(evaluation.flip)] if evaluation.flip else []
    weighed = any(falls_back(scorer) for scorer in evaluation.scorers)
    if clean is not None and clean.accuracy is not None and clean.loss is not None:
        when = (evaluation.epoch, evaluation.step)
        spectrum = None if found is None else found.spectrum / found.clips
        doubts = [diagnose(clean.accuracy, clean.loss, len(manifest.classes), *when, spectrum)]
        if found is not None and not weighed:
            doubts.append(compare(found, *when))
        warnings = [*filter(None, doubts), *warnings]
    notes = [_counted(found, evaluation.untrained) if weighed else None]
    notes.append(known_faults_in_words(evaluation.scorers, manifest))
    known = evaluation.model_dump(include=Header.model_fields.keys() - {"format"})
    return Header(
        **known,
        layout=manifest.file.layout,
        classes=len(manifest.classes),
        selection=Choice(rule=evaluation.select, oracle=evaluation.select == "oracle"),
        primary=scorer_label(evaluation.scorers[0]),
        baselines=[scorer_label(s) for s in evaluation.scorers if s.name == "untrained_knn"],
        notes=[*filter(None, notes)],
        warnings=[*warnings, *threshold_warnings(decided, evaluation.threshold)],
        thresholds=decided.by_name,
    )


def _counted(found: Learnt | None, untrained: str | None) -> str:
    """How much the trained members of `fused` count, and why."""
    if untrained is not None:
        return f"trained members do not count: nothing was trained, {untrained}"
    if found is None:
        return "trained members do not count: no clip was held out to see what the network has learnt"
    if found.share == 0:
        return f"trained members do not count: {found.in_words()}, which is not surely better"
    return f"trained members count {found.share:.2f} times as much as the others: {found.in_words()}"


def _leave_with_parent() -> None:
    """The training process holds the other end of stdin; when it is gone, a resumed run scores this folder again."""
    os.read(0, 1)
    os._exit(1)


def _main() -> None:
    logs.set_up("text")
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    folder, run, shards = map(Path, sys.argv[1:4])
    with Loggers() as loggers:
        LoggingConfig.model_validate_json(sys.argv[4]).build(Source(run, "eval"), loggers)
        score_folder(folder, loggers, shards=shards)


if __name__ == "__main__":
    run_main(_main)
