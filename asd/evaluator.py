"""Evaluation that does not hold training up: all ranks embed, a niced process of rank 0 scores meanwhile."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydantic
from torch import nn

from asd import checkpoint
from asd.background import BackgroundScoring
from asd.data.loader import Loader
from asd.data.manifest import ORIGIN_FILE, Manifest
from asd.data.splits import Splits, subset_per_class
from asd.distributed import Ranks
from asd.embedding import Average, Embeddings, embed_clips
from asd.errors import UserError
from asd.evaluation_folder import Evaluation, Validation, read_evaluation, write_embeddings
from asd.evaluations import Selection, best_step, outdated_steps, waiting_steps
from asd.loggers import Loggers
from asd.metrics.thresholds import GammaConfig, ThresholdConfig
from asd.run_folder import RunFolder
from asd.scorers import CentroidConfig, KnnConfig, ScorerConfig, SoftmaxConfig, UntrainedKnnConfig, scorer_label
from asd.scorers.embedded import all_finite
from asd.stop import StopSignal

DEFAULT_SCORERS: tuple[ScorerConfig, ...] = (
    SoftmaxConfig(),
    CentroidConfig(),
    KnnConfig(),
    UntrainedKnnConfig(),
    UntrainedKnnConfig(level="normalised"),
)


class EvaluateConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """When and how checkpoints are scored, and which of them is the best one."""

    every_epochs: pydantic.PositiveInt = 2  # between evaluations; the last step is always evaluated
    by_watcher: bool = False  # training only saves; `python eval.py watch` scores, in a process of its own
    max_unscored: int = pydantic.Field(default=10, ge=3)  # evaluations that wait for scores; of more the oldest go
    scorers: tuple[ScorerConfig, ...] = DEFAULT_SCORERS  # the first is the primary one
    select: Selection = "clean"  # oracle: by the year's numbers on labelled development clips, and every report says so
    fit_clips_per_class: pydantic.PositiveInt | None = None  # of each domain, that scorers are fitted on; None: all
    test_clips_per_class: pydantic.PositiveInt | None = None  # (and held-out ones) by domain, for a look; None: all
    average: Average = "scores"  # of a clip's windows: their scores, or already their embeddings
    flip: tuple[str, ...] = ()  # classes (fan/00) whose scores count the other way round, as one submission of S5
    threshold: ThresholdConfig = GammaConfig()  # of normal clips' scores, above which a clip is called an anomaly
    first_s: float | None = pydantic.Field(default=None, ge=0.05, le=600)  # score the start of clips; None: all of them
    batch_audio_s: pydantic.PositiveFloat = 640.0  # seconds of audio in one batch

    @pydantic.field_validator("scorers")
    @classmethod
    def _told_apart(cls, scorers: tuple[ScorerConfig, ...]) -> tuple[ScorerConfig, ...]:
        if not scorers:
            raise ValueError("name at least one scorer, such as [{name: softmax}]")
        labels = [scorer_label(scorer) for scorer in scorers]
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"two scorers would be called {twice}")
        return scorers


@dataclass(frozen=True)
class Schedule:
    """The steps that are evaluated: every so many, and the last one."""

    every: int
    last: int

    def due(self, step: int) -> bool:
        return step == self.last or step % self.every == 0


class Evaluator:
    """Embeds checkpoints for scoring and keeps account of what is scored."""

    def __init__(
        self, config: EvaluateConfig, splits: Splits, loader: Loader, ranks: Ranks, folder: RunFolder, seed: int
    ) -> None:
        self.config, self.loader, self.ranks, self.folder = config, loader, ranks, folder
        self.fit_clips = subset_per_class(loader.manifest, splits.train, seed, config.fit_clips_per_class)
        few = config.test_clips_per_class
        self.held_out, self.test_clips = (
            subset_per_class(loader.manifest, clips, seed, few) for clips in (splits.validation, splits.test)
        )

    def embed(self, task: nn.Module, step: int, epoch: float, target: Path, show_progress: bool = False) -> Evaluation:
        """Embed fit, validation and test clips with all ranks and lay them down in target (rank 0)."""
        begin = time.perf_counter()
        clips = np.unique(np.concatenate([self.fit_clips, self.held_out, self.test_clips]))
        rate = self.loader.manifest.sample_rate
        first = None if self.config.first_s is None else round(self.config.first_s * rate)
        samples = int(self.config.batch_audio_s * rate)
        average = self.config.average
        found = embed_clips(
            task, self.loader, self.ranks, clips, samples, first, average, self.fit_clips, show_progress
        )
        scale = getattr(task, "logit_scale", None)
        return self.ranks.on_main(lambda: self._write(found, scale, step, epoch, target, time.perf_counter() - begin))

    def _write(
        self,
        found: Embeddings | None,
        logit_scale: float | None,
        step: int,
        epoch: float,
        target: Path,
        seconds: float,
    ) -> Evaluation:
        assert found is not None
        if not (all_finite(found.clips.embedding) and all_finite(found.clips.logits)):
            raise UserError(
                f"step {step}: the network gives embeddings that are not finite: use "
                "train.precision=fp32, go back to an earlier checkpoint, or lower optim.lr in another run.dir"
            )
        manifest = self.loader.manifest
        evaluation = Evaluation(
            run=self.folder.root.name,
            run_folder=str(self.folder.root),
            step=step,
            epoch=epoch,
            checkpoint=checkpoint.step_path(self.folder.checkpoints, step).name,
            shards=_origin(manifest),
            fingerprint=manifest.fingerprint,
            machine_types=tuple(sorted({c.machine_type for c in manifest.classes})),
            machine_ids=tuple(sorted({c.machine_id for c in manifest.classes})),
            select=self.config.select,
            scorers=self.config.scorers,
            flip=tuple(str(own) for own in manifest.classes if str(own) in self.config.flip),
            threshold=self.config.threshold,
            validation=_validation(found, self.held_out),
            fit_clips=len(self.fit_clips),
            unreadable_clips=found.unreadable,
            logit_scale=logit_scale,
            embed_s=seconds,
        )
        parts = (found.of(clips)[0] for clips in (self.fit_clips, self.held_out, self.test_clips))
        write_embeddings(target, evaluation, *parts)
        return evaluation


def _origin(manifest: Manifest) -> str:
    """The folder of a set; of a cached one the address that it came from, without passwords."""
    origin = manifest.root / ORIGIN_FILE
    return origin.read_text(encoding="utf-8").strip() if origin.is_file() else str(manifest.root.resolve())


def _validation(found: Embeddings, clips: np.ndarray) -> Validation | None:
    if not len(clips):
        return None
    rows, loss = found.of(clips)
    held_out = rows.per_clip()
    accuracy = None
    if held_out.logits.shape[1]:
        accuracy = float((held_out.logits.argmax(1) == held_out.class_index).float().mean())
    mean = float(loss.mean())
    return Validation(loss=None if math.isnan(mean) else mean, accuracy=accuracy, clips=len(held_out))


class TrainingEvaluator:
    """The `evaluate` that a trainer calls: embed, hand over to a background process, show what came back.

    With evaluate.by_watcher it only keeps the checkpoints for whoever scores them.
    """

    def __init__(self, evaluator: Evaluator, loggers: Loggers, schedule: Schedule) -> None:
        self.evaluator, self.loggers, self.schedule = evaluator, loggers, schedule
        self.folder, self.ranks, self.by_watcher = evaluator.folder, evaluator.ranks, evaluator.config.by_watcher
        self.background = BackgroundScoring(self.folder, evaluator.loader.manifest.root)

    def __call__(self, task: nn.Module, step: int, epoch: float) -> None:
        if self.by_watcher:
            return
        evaluation = self.evaluator.embed(task, step, epoch, self.folder.evaluation(step))
        if self.ranks.is_main:
            if evaluation.validation is not None:
                numbers = evaluation.validation.scalars()
                self.loggers.log(step, numbers)
                words = [f"{name.removeprefix('validation/')} {value:.4g}" for name, value in numbers.items()]
                print(f"step {step} validation {', '.join(words)}", flush=True)
            if step == self.schedule.last:
                self.background.hurry()
            self.background.submit(step)
            self._give_up()

    def _give_up(self) -> None:
        """Where scoring falls behind, let go of the oldest evaluations, never of the best one: disks are finite."""
        most, best = self.evaluator.config.max_unscored, best_step(self.folder, self.evaluator.config.select)
        for step in self.background.give_up(most, spare=best):
            line = f"scoring falls behind: step {step} stays unscored (evaluate.max_unscored={most})"
            print(f"warning: {line}", file=sys.stderr, flush=True)

    def renew(self, task: nn.Module) -> None:
        """Embed anew, with the weights of their checkpoints, what another version of this program left unscored."""
        if self.by_watcher:
            return
        for step in self.ranks.on_main(lambda: outdated_steps(self.folder)):
            path = checkpoint.step_path(self.folder.checkpoints, step)
            try:
                weights, meta = self.ranks.agree(lambda path=path: checkpoint.load_network(path))  # type: ignore[misc]
            except UserError as error:
                if self.ranks.is_main:
                    print(f"warning: {error}: step {step} stays unscored", file=sys.stderr, flush=True)
                continue
            task.load_state_dict(weights)
            self.evaluator.embed(task, step, meta["epoch"], self.folder.evaluation(step))

    def __enter__(self) -> TrainingEvaluator:
        if self.ranks.is_main and not self.by_watcher:
            self.background.submit_unscored()
            self._give_up()
        return self

    def __exit__(self, *_: object) -> None:
        self.background.stop()

    def wait(self, stop: StopSignal) -> None:
        """Until all that was embedded is scored, or a signal says to leave. Training has ended."""
        self.background.hurry()
        self.background.wait(stop)

    def due(self, step: int) -> bool:
        return self.schedule.due(step)

    def missing(self, step: int) -> bool:
        """Whether a checkpoint that these ranks embed was not embedded yet."""
        return not self.by_watcher and read_evaluation(self.folder.evaluation(step)) is None

    def protected_steps(self) -> set[int]:
        """Steps whose checkpoint must stay: the best one, and those still to be scored."""
        config = self.evaluator.config
        best = best_step(self.folder, config.select)
        return {*self.waiting()[-config.max_unscored :], *([] if best is None else [best])}

    def waiting(self) -> list[int]:
        """Steps that were embedded, or are left to a watcher, and have no scores yet."""
        return waiting_steps(self.folder, self.due if self.by_watcher else None)
