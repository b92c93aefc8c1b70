"""From a run to a detector file: what `eval.py export` does."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from asd.commands.budget import Budget
from asd.commands.clips_of_run import clips_of, learnt_clips, tested_by
from asd.commands.open_run import CheckpointEmbedder, Run, choose_step
from asd.commands.other_formats import check_others, write_others
from asd.data.heard import Heard
from asd.data.manifest import Manifest
from asd.detector import DetectorFile, FittedScorer, Provenance, Software, read_detector, write_detector
from asd.detector.card import card, card_path
from asd.detector.normals import Normals, Shown, core_rows, kept_columns
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.evaluate.scoring import fitted, learnt_from, scores_by
from asd.evaluate.store import Evaluation, read_embeddings
from asd.files.atomic import write_whole
from asd.files.paths import check_writable
from asd.metrics import ClipScores
from asd.metrics.decisions import decide_clips
from asd.report.evidence import evidence_warnings, joined, rule_in_words
from asd.run_folder import checkpoint
from asd.run_folder.provenance import provenance
from asd.scorers import EmbeddingTable, ScorerConfig, scorer_label
from asd.scorers.state import state_of
from asd.tasks.build import settle
from asd.tasks.system import System
from asd.text.shell import command, option

log = logging.getLogger(__name__)

MAX_SHOWN = 10  # thresholds, one a line
MAX_S = 3600.0  # that is heard at once, however long the clips of the set are


@dataclass(frozen=True)
class Kept:
    """What the file holds beside the network. scorers: their names; none: all. normals: rows of normal recordings of
    each machine, at most. budget: of false alarms, for the thresholds; None: as the run's config says."""

    scorers: Sequence[str]
    normals: int
    budget: Budget | None


def export_command(run: Run, wanted: str, out: Path, kept: Kept, others: Mapping[str, Path]) -> None:
    """Embed the training clips once more, fit scorers and thresholds to them, and write all of it as one file.

    others: further files of the detector, by the name of their format.
    """
    if kept.normals < 0:
        raise UserError(f"--normals {kept.normals}: give a number from 0")
    if kept.budget is not None:
        kept.budget.rule(1.0)  # that it can be read
    step = choose_step(run, wanted)
    run = run.at(step)
    chosen = _chosen(run.config.evaluate.scorers, kept.scorers)
    _check_foreign(out)
    card_at = card_path(out)
    if others:
        weights, _ = checkpoint.load_network(checkpoint.step_path(run.folder.checkpoints, step))
        check_others(others, out, chosen, weights)
    with (
        start_ranks(run.config.distributed.precision, run.config.distributed.timeout_s) as ranks,
        TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder,
        CheckpointEmbedder(run, ranks, test=False) as embedder,
    ):
        embedder.embed(step, Path(folder))
        ranks.run_on_main(lambda: write_detector(out, _detector(embedder, step, Path(folder), chosen, kept)))
        if ranks.is_main:
            _say(out)
            file = read_detector(out)
            write_whole(card_at, card(file, out))  # of what is there, also where another format fails
            print(f"{card_at}: what it was made from, its scores, thresholds and limits")
            if lines := write_others(others, file, out, clips_of(embedder, file)):
                print("\n".join(lines))
                write_whole(card_at, card(file, out, lines))


def _chosen(configured: Sequence[ScorerConfig], wanted: Sequence[str]) -> tuple[ScorerConfig, ...]:
    """The scorers that the file shall hold: those named, in that order, or all."""
    known = {scorer_label(config): config for config in configured}
    if unknown := next((label for label in wanted if label not in known), None):
        raise UserError(f"--scorer {unknown}: the run has {', '.join(known)}")
    return tuple(known[label] for label in dict.fromkeys(wanted)) or tuple(configured)


def _check_foreign(out: Path) -> None:
    """Refuse, before any work, to write over what is no detector, or into a folder that is not there."""
    if out.is_dir() or not out.parent.is_dir():
        raise UserError(f"--out {out}: name a file in a folder that exists, such as detector.pt")
    check_writable(f"--out {out}", out.parent)
    if out.exists():
        try:
            read_detector(out)
        except UserError:
            raise UserError(f"--out {out} is not a detector: name a new file") from None


def _detector(
    embedder: CheckpointEmbedder, step: int, folder: Path, chosen: tuple[ScorerConfig, ...], kept: Kept
) -> DetectorFile:
    evaluation, manifest, fit, validation, none = read_embeddings(folder, embedder.setup.data.manifest.root)
    run, config, rate = embedder.run, embedder.run.config, manifest.sample_rate
    usual, longest = _lengths(manifest, fit.clips()[0].numpy())
    first_s, proxy = config.evaluate.first_s, embedder.setup.data.manifest.proxy
    clip_s = min(usual / rate, MAX_S) if first_s is None else first_s
    if kept.budget is not None:
        evaluation = evaluation.model_copy(update={"threshold": kept.budget.rule(clip_s)})
    known, new = learnt_from(evaluation, fit, validation)
    models = list(fitted(chosen, known))
    _, calibration = scores_by(models, manifest, evaluation, known, new, none)
    scorers = tuple(
        FittedScorer(
            config=scorer_config,
            state=state_of(scorer_config, scorer),
            **_thresholds(manifest, calibration, scorer_label(scorer_config), evaluation),
        )
        for scorer_config, scorer in models
    )
    weight = (config.evaluate.reference_weight or None) if manifest.channels > 1 else None
    return DetectorFile(
        provenance=_provenance(run, step, evaluation, manifest),
        system=settle(embedder.task, System.model_validate(config.model_dump(include=set(System.model_fields)))),
        weights=embedder.task.state_dict(),
        precision=config.distributed.precision,
        average=config.evaluate.average,
        sample_rate=rate,
        reference_weight=weight,
        heard=heard_of(manifest, weight),
        classes=manifest.classes,
        machine_of=() if proxy is None else proxy.machine,
        flipped=tuple(index for index, own in enumerate(manifest.classes) if str(own) in evaluation.flip),
        clip_s=clip_s,
        longest_s=min(max(longest / rate, first_s or 0.0), MAX_S),
        fixed_length=first_s is not None,
        scorers=scorers,
        threshold_rules=dict.fromkeys(range(len(manifest.classes)), evaluation.threshold),
        normals=_normals(embedder, known, kept_columns(chosen), kept.normals) if kept.normals else {},
        learnt=learnt_clips(embedder),
        tested=tested_by(run, step, manifest.classes, scorers),
    )


def _normals(embedder: CheckpointEmbedder, known: EmbeddingTable, kept: set[str], count: int) -> dict[int, Normals]:
    """Of each class, at most so many of the rows that scorers were fitted to, with the sound of their clips."""
    found, manifest = {}, embedder.setup.data.manifest
    for own, its in known.rows_by_class().items():
        rows = known.select(its)
        core = rows.select(core_rows(rows, count))
        clips = core.clips()[0].numpy()
        names, rate = manifest.strings("file_name", clips), manifest.sample_rate
        shown = (Shown.of(name, embedder.samples(clip), rate) for name, clip in zip(names, clips.tolist(), strict=True))
        found[own] = Normals.of(core, kept, shown)
    return found


def heard_of(manifest: Manifest, reference_weight: float | None) -> Heard | None:
    """How a set's recordings were heard; where its reference microphone counts nothing, the near one alone."""
    heard = manifest.file.heard
    if heard is None or reference_weight is not None or not isinstance(heard.channel, tuple):
        return heard
    return heard.model_copy(update={"channel": heard.channel[0]})


def _lengths(manifest: Manifest, fit_clips: np.ndarray) -> tuple[int, int]:
    """Samples of the usual training clip, and of the longest clip of the set."""
    clips = np.concatenate([manifest.select("train"), manifest.select("test")])
    return int(np.median(manifest.frames[fit_clips])), int(manifest.frames[clips].max())


def _thresholds(manifest: Manifest, calibration: ClipScores, label: str, evaluation: Evaluation) -> dict[str, Any]:
    """Thresholds of classes with normal clips to find them by, the same as in the run's report, and doubts of them."""
    decided = decide_clips(calibration, calibration, label, evaluation.threshold)
    if decided.refused:
        (machine, why), *others = decided.refused.items()
        more = f" (and {len(others)} machines more)" if others else ""
        raise UserError(f"--false-alarms: {'/'.join(machine)}{more}: {why} (scorer {label})")
    machines = [(own.machine_type, own.machine_id) for own in manifest.classes]
    classes = {machines.index(machine): threshold for machine, threshold in decided.thresholds.items()}
    rule = evaluation.threshold
    doubts = {own: evidence_warnings({str(manifest.classes[own]): found}, rule) for own, found in classes.items()}
    return {
        "thresholds": {own: threshold.value for own, threshold in classes.items()},
        "rules": {own: rule_in_words(threshold, rule) for own, threshold in classes.items()},
        "doubts": {own: said[0].text for own, said in doubts.items() if said},
    }


def _provenance(run: Run, step: int, evaluation: Evaluation, manifest: Manifest) -> Provenance:
    meta = json.loads((checkpoint.step_path(run.folder.checkpoints, step) / "meta.json").read_text(encoding="utf-8"))
    return Provenance(
        run=evaluation.run,
        step=step,
        epoch=evaluation.epoch,
        data=manifest.file.name,
        fingerprint=manifest.fingerprint,
        trained=Software.model_validate({name: meta[name] for name in Software.model_fields}),
        exported=Software.model_validate(provenance()),
    )


def _say_thresholds(file: DetectorFile) -> None:
    """Of the primary scorer: how they were found, for a few machines; what is to be doubted, for all."""
    primary = file.scorers[0]
    for index, own in enumerate(file.classes[:MAX_SHOWN]):
        if index in primary.thresholds:
            print(f"{own}: {primary.label} above {primary.thresholds[index]:.5g} is an anomaly, {primary.rules[index]}")
    for doubt in joined(primary.doubts.values()):
        log.warning("%s", doubt)
    for index, own in enumerate(file.classes):
        if index not in primary.thresholds:
            log.warning("%s has no threshold: more of its normal clips are needed", own)


def _say(out: Path) -> None:
    """What was written, read back."""
    file = read_detector(out)
    machines = f"{len(file.classes)} machine" + "s" * (len(file.classes) != 1)
    labels = [scorer.label for scorer in file.scorers]
    size, words = out.stat().st_size / 2**20, "scorers" if len(labels) > 1 else "scorer"
    print(
        f"{out}: {size:.1f} MiB, {machines}, {words} {', '.join(labels)}; clips of {file.clip_s:g} s at "
        f"{file.sample_rate} Hz, {file.heard.channel_in_words() if file.heard else 'of an older set'}"
    )
    _say_thresholds(file)
    own = file.classes[0]
    machine = (*option("--machine", own.machine_type), *option("--id", own.machine_id))
    print(command("python", "eval.py", "clips", *option("--detector", out), "RECORDINGS", *machine))
