"""Evaluation that does not hold training up: all ranks embed, a niced process of rank 0 scores meanwhile."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic
from torch import nn

from asd import checkpoint
from asd.data.loader import Loader
from asd.data.splits import Splits, subset_per_class
from asd.distributed import Ranks
from asd.embedding import Average, Embeddings, embed_clips
from asd.errors import UserError
from asd.loggers import Loggers
from asd.metrics.thresholds import GammaConfig, ThresholdConfig
from asd.report import percent
from asd.run_folder import RunFolder
from asd.scorers import CentroidConfig, KnnConfig, ScorerConfig, SoftmaxConfig, UntrainedKnnConfig, scorer_label
from asd.scorers.embedded import all_finite
from asd.scoring import EVALUATION_FILE, Evaluation, Validation, read_evaluation, read_report, write_embeddings
from asd.stop import StopSignal

Selection = Literal["clean", "oracle", "last"]

LOG_FILE = "scoring.log"
POLL_S = 0.2

DEFAULT_SCORERS: tuple[ScorerConfig, ...] = (
    SoftmaxConfig(),
    CentroidConfig(),
    KnnConfig(),
    UntrainedKnnConfig(),
    UntrainedKnnConfig(level="normalised"),
)


class EvaluateConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """When and how checkpoints are scored, and which of them is the best one."""

    every_epochs: pydantic.PositiveInt = 2
    scorers: tuple[ScorerConfig, ...] = DEFAULT_SCORERS  # the first is the primary one
    select: Selection = "clean"  # oracle: by AUC and pAUC on the test clips, marked as such in every report
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
                f"step {step}: the network gives embeddings that are not finite: lower optim.lr, use "
                "train.precision=fp32, or go back to an earlier checkpoint"
            )
        manifest = self.loader.manifest
        evaluation = Evaluation(
            run=self.folder.root.name,
            step=step,
            epoch=epoch,
            checkpoint=checkpoint.step_path(self.folder.checkpoints, step).name,
            shards=str(manifest.root.resolve()),
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
    """The `evaluate` that a trainer calls: embed, hand over to a background process, show what came back."""

    def __init__(self, evaluator: Evaluator, loggers: Loggers, steps_per_epoch: int) -> None:
        self.evaluator, self.loggers, self.steps_per_epoch = evaluator, loggers, steps_per_epoch
        self.folder, self.ranks = evaluator.folder, evaluator.ranks
        self.background = BackgroundScoring(self.folder)

    def __call__(self, task: nn.Module, step: int, epoch: float) -> None:
        evaluation = self.evaluator.embed(task, step, epoch, self.folder.evaluation(step))
        if self.ranks.is_main:
            if evaluation.validation is not None:
                numbers = evaluation.validation.scalars()
                self.loggers.log(step, numbers)
                words = [f"{name.removeprefix('validation/')} {value:.4g}" for name, value in numbers.items()]
                print(f"step {step} validation {', '.join(words)}", flush=True)
            self.background.submit(step)

    def __enter__(self) -> TrainingEvaluator:
        if self.ranks.is_main:
            self.background.submit_unscored()
        return self

    def __exit__(self, *_: object) -> None:
        self.background.stop()

    def wait(self, stop: StopSignal) -> None:
        """Until all that was embedded is scored, or a signal says to leave."""
        self.background.wait(stop)

    def due(self, step: int) -> bool:
        return step % (self.evaluator.config.every_epochs * self.steps_per_epoch) == 0

    def missing(self, step: int) -> bool:
        """Whether a checkpoint was not embedded yet."""
        return read_evaluation(self.folder.evaluation(step)) is None

    def protected_steps(self) -> set[int]:
        """Steps whose checkpoint must stay: the best one, and those still to be scored."""
        best = best_step(self.folder, self.evaluator.config.select)
        return set(unscored_steps(self.folder)) | ({best} if best is not None else set())


class BackgroundScoring:
    """One niced scoring process at a time, in the order of the steps."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._jobs: list[Future[None]] = []
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def submit(self, step: int) -> None:
        self._jobs.append(self._queue.submit(self._score, step))

    def submit_unscored(self) -> None:
        """Take up again what an earlier process of this run did not finish."""
        for step in unscored_steps(self._folder):
            self.submit(step)

    def wait(self, stop: StopSignal) -> None:
        """Until everything submitted is scored; a signal ends it early."""
        while stop.name is None and wait(self._jobs, timeout=POLL_S).not_done:
            pass

    def stop(self) -> None:
        """End the running process; a resumed run scores what is left."""
        self._stopped = True
        if self._child is not None:
            self._child.terminate()
        self._queue.shutdown(wait=True, cancel_futures=True)

    def _score(self, step: int) -> None:
        if self._stopped:
            return
        folder = self._folder.evaluation(step)
        begin = time.monotonic()
        command = [sys.executable, "-m", "asd.scoring", str(folder), str(self._folder.tensorboard("eval"))]
        # stdin closes with this process, however that ends, and takes the child along.
        with (
            (folder / LOG_FILE).open("wb") as log,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_scoring_environment(),
                process_group=0,  # out of reach of the terminal's Ctrl-C; a session would be an autogroup of its own
            ) as self._child,
        ):
            _yield_to_training(self._child.pid)
            if self._stopped:  # while it was starting
                self._child.terminate()
            code = self._child.wait()
        if code == 0:
            print(f"step {step} scored in {time.monotonic() - begin:.0f} s: {_headline(folder)}", flush=True)
            for warning in (read_report(folder) or {}).get("warnings", []):
                print(f"warning: {warning}", file=sys.stderr, flush=True)
        elif not self._stopped:
            print(f"warning: scoring step {step} failed: {_last_line(folder / LOG_FILE)}", file=sys.stderr, flush=True)


def _yield_to_training(pid: int) -> None:
    """Give a process only what processor time is left over.

    Niceness counts among the processes of one autogroup (sched(7)); between two, which is what two sessions are, each
    gets half. An idle-class process also makes room the moment that a training thread wakes up, a nice one after its
    slice of some milliseconds.
    """
    os.setpriority(os.PRIO_PROCESS, pid, 19)
    with suppress(OSError):  # some sandboxes forbid it
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def _scoring_environment() -> dict[str, str]:
    """No GPU, one thread, and no ranks: the scoring process must not disturb training."""
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    source = str(Path(__file__).resolve().parents[1])
    return env | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": source}


def _headline(folder: Path) -> str:
    report = read_report(folder)
    if report is None:
        return "no report"
    aucs = {name: scorer["mean"]["auc"] for name, scorer in report["scorers"].items()}
    known = [f"{name} {percent(auc)}" for name, auc in aucs.items() if auc is not None]
    return f"mean AUC {', '.join(known)}" if known else "no AUC without labelled normal and anomalous test clips"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else 'no output'} (see {log})"


def evaluated_steps(folder: RunFolder) -> list[int]:
    """Steps that were embedded, ascending."""
    return sorted(
        int(p.parent.name.removeprefix("step_")) for p in folder.evaluations.glob(f"step_*/{EVALUATION_FILE}")
    )


def unscored_steps(folder: RunFolder) -> list[int]:
    """Steps that were embedded but have no report yet."""
    return [step for step in evaluated_steps(folder) if read_report(folder.evaluation(step)) is None]


def best_step(folder: RunFolder, rule: Selection) -> int | None:
    """The step that the rule prefers among those evaluated so far; None before the first.

    clean: lowest clean loss on held-out normal clips. oracle: highest sum of AUC and pAUC over the machine types, on
    the test clips, by the primary scorer. last: the newest.
    """
    if rule == "last":
        return next(reversed(evaluated_steps(folder)), None)
    value = _clean_value if rule == "clean" else _oracle_value
    rated = [(value(folder.evaluation(step)), -step) for step in evaluated_steps(folder)]
    known = [(v, s) for v, s in rated if v is not None]
    return -max(known)[1] if known else None


def _clean_value(folder: Path) -> float | None:
    evaluation = read_evaluation(folder)
    loss = evaluation.validation.loss if evaluation is not None and evaluation.validation is not None else None
    return None if loss is None else -loss


def _oracle_value(folder: Path) -> float | None:
    report = read_report(folder)
    if report is None:
        return None
    types: Sequence[dict[str, float | None]] = report["scorers"][report["primary"]]["types"].values()
    return sum((t["auc_mean"] or 0.0) + (t["pauc_mean"] or 0.0) for t in types)
