"""A loaded detector, for one machine and one scorer. Legend: B windows of recordings, T samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydantic
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from asd.data.batch import Batch
from asd.detector.file import DetectorFile, FittedScorer
from asd.distributed.ranks import Ranks
from asd.errors import UserError, printable
from asd.evaluate.embed import Columns, columns_of
from asd.files.safe_torch import short
from asd.frontends.ignored import ignoring
from asd.scorers import EmbeddingTable, Scorer
from asd.scorers.embeddings import mean_by
from asd.scorers.fused import Fused
from asd.scorers.per_clip import score_of_clips
from asd.scorers.state import restored
from asd.tasks.base import Task
from asd.tasks.build import build_task
from asd.tasks.reference import embed

NEW_CLIP = -(1 << 40)  # recordings are clips that no scorer has seen: their indices are none of a training clip


def build_network(file: DetectorFile, source: Path) -> Task:
    """The network with the weights of the file, ready to embed. UserError where they do not fit each other.

    It is sketched without memory first: a description of any size costs nothing where the weights are not there.
    """
    try:
        with torch.device("meta"), _no_more_parameters(2 * len(file.weights)):
            task = build_task(file.system, 0, file.sample_rate, file.learnt_classes, machine_of=file.machine_of)
    except Exception as error:  # what a hostile description makes a network's parts raise may be anything
        raise UserError(f"{source} is damaged: its network cannot be built ({short(error)})") from None
    wanted, given = ({n: (tuple(t.shape), t.dtype) for n, t in w.items()} for w in (task.state_dict(), file.weights))
    if wanted != given:
        first = min(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        raise UserError(f"{source} is damaged: its weights do not fit its network ({printable(first)[:80]})")
    task.load_state_dict(file.weights, assign=True)
    return task.eval()


@contextmanager
def _no_more_parameters(most: int) -> Iterator[None]:
    """Stops the building of a network that is deeper than the weights for it."""
    left = iter(range(most))

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if next(left, None) is None:
            raise ValueError(f"it has more than {most} parts")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _scorer_of(chosen: FittedScorer, own: int, file: DetectorFile, source: Path) -> Scorer:
    """What a scorer knows of one machine. UserError where that does not fit."""
    if own not in chosen.state:
        raise UserError(f"{source} is damaged: scorer {chosen.label} has no state for {file.classes[own]}")
    try:
        scorer = restored(chosen.config, {own: chosen.state[own]})
    except pydantic.ValidationError:
        raise UserError(f"{source} is damaged: the state of scorer {chosen.label} does not fit it") from None
    with _one_refusal(source):
        scorer.prepare()
    return scorer


@contextmanager
def _one_refusal(source: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, IndexError, ValueError, TypeError) as error:  # both sides of it are of the file
        raise UserError(f"{source} is damaged: its scorer does not fit its network ({short(error)})") from None


def batch_of(windows: np.ndarray, own: int, first: int) -> Batch:
    """Windows (B, T) int16 of a machine, or (B, T, 2) of two microphones, numbered from first, for a network."""
    count, samples = windows.shape[:2]
    waveform, *reference = torch.from_numpy(windows.reshape(count, samples, -1)).unbind(2)
    return Batch(
        waveform=waveform,
        reference=reference[0] if reference else None,
        frames=torch.full((count,), samples),
        clip_index=NEW_CLIP + torch.arange(first, first + count),
        class_index=torch.full((count,), own),
        domain=torch.zeros(count, dtype=torch.int64),
        valid=torch.ones(count, dtype=torch.bool),
        epoch=0,
        step=0,
        first_row=0,
    )


@dataclass(frozen=True)
class Detector:
    """A detector set on one machine and one scorer."""

    file: DetectorFile
    source: Path
    ranks: Ranks
    task: Task
    chosen: FittedScorer
    own: int  # class index of the machine
    scorer: Scorer  # the chosen one, of this machine

    @classmethod
    def open(cls, file: DetectorFile, source: Path, ranks: Ranks, own: int, label: str | None = None) -> Detector:
        """On the device of the ranks; only what the scorer knows of this machine is looked at."""
        task, chosen = build_network(file, source).to(ranks.device), file.scorer(label)
        scorer = _scorer_of(chosen, own, file, source)
        return cls(file, source, ranks, task, chosen, own, scorer)

    @property
    def threshold(self) -> float | None:
        """None where a class had no normal clip to find it by."""
        return self.chosen.thresholds.get(self.own)

    def for_class(self, own: int) -> Detector:
        """The same network for what a machine sounds like; its scorer stays another machine's."""
        return replace(self, own=own)

    def set_on(self, own: int) -> Detector:
        """The same network and scorer, on another machine."""
        return replace(self, own=own, scorer=_scorer_of(self.chosen, own, self.file, self.source))

    def embed(self, windows: np.ndarray, first: int) -> Columns:
        """What the network makes of windows (B, T) int16, or of two microphones (B, T, 2), numbered from first.

        UserError where T is too short for the network, or a microphone is missing.
        """
        if self.file.reference_weight is not None and windows.ndim == 2:
            raise UserError(f"{self.source} hears a near and a reference microphone, and here is one channel alone")
        batch = batch_of(windows, min(self.own, self.file.learnt_classes - 1), first).to(self.ranks.device)
        with self.ranks.autocast(), ignoring(self.task, self.file.ignored.get(self.own, ())):
            out = embed(self.task, batch, self.file.reference_weight or 0.0)
        return columns_of(out, batch, self.file.average)

    def score(self, embedded: Sequence[Columns]) -> np.ndarray:
        """(n,) float64 of all windows of these calls of `embed`, by their numbers; higher = more anomalous."""
        with _one_refusal(self.source):
            return score_of_clips(self.scorer, self.table(embedded), self.file.flipped)

    def parts(self, embedded: Sequence[Columns]) -> dict[str, np.ndarray]:
        """Member of a `fused` scorer → what it says of each of these windows, (n,) in standard deviations above the
        machine's training clips; nothing of a scorer that stands alone."""
        if not isinstance(self.scorer, Fused):
            return {}
        with _one_refusal(self.source):
            rows = self.table(embedded)
            clips, position = rows.clips()
            parts = mean_by(self.scorer.parts(rows), position, len(clips))
            return dict(zip(self.scorer.labels, parts.T.numpy(), strict=True))

    def table(self, embedded: Sequence[Columns]) -> EmbeddingTable:
        """All windows of these calls of `embed`, as this machine's, also where they were embedded for another."""
        table = Columns.joined(embedded).table(self.task.views)
        return replace(table, class_index=torch.full_like(table.class_index, self.own))
