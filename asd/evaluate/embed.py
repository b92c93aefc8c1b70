"""One pass of a network over whole clips, spread over all ranks. Legend: N rows, P windows of a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from asd.data.batch import Batch
from asd.data.loader import BatchSource, whole_clip_requests
from asd.data.manifest import Manifest
from asd.data.plan import equal_length_batches
from asd.data.recordings import left_out_with
from asd.distributed.memory import enough_memory
from asd.distributed.ranks import Ranks
from asd.process.stop import StoppedError
from asd.scorers import EmbeddingTable
from asd.scorers.embeddings import View, mean_by
from asd.scorers.folds import FOLDS, fold_of
from asd.scorers.residuals import ResidualMoments, group_of
from asd.tasks.base import Embedding
from asd.tasks.reference import embed
from asd.text.terminal import open_console

REMEDY = "lower evaluate.batch_audio_s"

Average = Literal["scores", "embeddings"]


class Columns(NamedTuple):
    """What a task gives of some clips, a row a clip or a window, with the clip's loss (N,): see EmbeddingTable."""

    clip_index: Tensor
    class_index: Tensor
    domain: Tensor
    embedding: Tensor
    logits: Tensor
    errors: Tensor
    features: Tensor
    faults: Tensor
    loss: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        return cls(*map(torch.cat, zip(*parts, strict=True)))

    def table(self, views: Mapping[str, View], residuals: ResidualMoments | None = None) -> EmbeddingTable:
        """What scorers see: all but the loss. views: of the embedding, as the task names them."""
        columns = {name: column for name, column in self._asdict().items() if name != "loss"}
        return EmbeddingTable(**columns, views=views, residuals=residuals)


@dataclass(frozen=True)
class EmbeddingPass:
    """All clips of a pass in ascending clip index, a row each or one for each of their windows; clean losses (N,)."""

    clips: EmbeddingTable
    loss: Tensor  # a row's clip's
    unreadable: int  # clips that could not be read and are left out

    def of(self, wanted: np.ndarray) -> tuple[EmbeddingTable, Tensor]:
        """Rows of the given clip indices, and the clean loss of each of these clips."""
        mask = torch.isin(self.clips.clip_index, torch.from_numpy(wanted.astype(np.int64)))
        found = self.clips.select(mask)
        clips, position = found.clips()
        return found, mean_by(self.loss[mask], position, len(clips))


def embed_clips(
    task: nn.Module,
    loader: BatchSource,
    ranks: Ranks,
    clips: np.ndarray,
    batch_samples: int,
    first_samples: int | None = None,
    average: Average = "scores",
    fit_clips: np.ndarray | None = None,
    show_progress: bool = False,
    reference_weight: float = 0.0,
) -> EmbeddingPass | None:
    """Embed clips with all ranks; the result on rank 0, None elsewhere.

    average: of a clip's windows, the scores (each window is a row) or already the embeddings and logits. fit_clips:
    those whose reconstruction residuals count. reference_weight: of the second microphone, of sets that have one; 0: it
    is not heard.

    Batches hold clips of one exact length and do not depend on the number of ranks, so neither do the embeddings.
    Raises StoppedError on all ranks where a loader that may stop could not have a batch.
    """
    frames = loader.manifest.frames[clips] if first_samples is None else np.full(len(clips), first_samples)
    batches = [clips[b] for b in equal_length_batches(frames, batch_samples)][ranks.rank :: ranks.world_size]
    task.eval()
    parts: list[Columns] = []
    with_reference = loader.manifest.channels > 1 and reference_weight > 0
    stream = loader.stream(whole_clip_requests(loader.manifest, batches, first_samples, with_reference))
    console = open_console(stderr=True)
    residuals = Residuals(ranks, loader.manifest, fit_clips)

    def own_share() -> bool:
        for batch in track(stream, "embedding", len(batches), console=console, disable=not show_progress):
            if batch.is_placeholder:
                return False
            with (
                ranks.autocast(),
                enough_memory(ranks.device, f"a batch of {len(batch.clip_index)} whole clips", REMEDY),
            ):
                out = embed(task, batch, reference_weight)
            residuals.add(batch, out)
            parts.append(columns_of(out, batch, average))
        return True

    whole = ranks.run_on_all(own_share)  # a clip too short for the network may be on one rank alone
    if not all(ranks.gather_objects(whole)):
        raise StoppedError("the embedding was cancelled")
    views: dict[str, View] = dict(getattr(task, "views", {}))
    return _gather(parts, views, residuals.gathered(), ranks, len(clips))


class Residuals:
    """Counts the residuals of training clips as they come by, where a task has any, apart by folds of recordings."""

    def __init__(self, ranks: Ranks, manifest: Manifest, clips: np.ndarray | None) -> None:
        self._ranks, self._classes = ranks, len(manifest.classes)
        clips = np.empty(0, np.int64) if clips is None else clips.astype(np.int64)
        recording = torch.from_numpy(left_out_with(manifest)[clips])
        fold = fold_of(torch.from_numpy(manifest.class_index[clips].astype(np.int64)), recording)
        order = recording.argsort(stable=True)
        self._recording, self._fold = recording[order], fold[order]
        self._fold_of_clip = torch.full((len(manifest),), -1).index_copy_(0, torch.from_numpy(clips), fold)
        self._counts = len(clips) > 0
        self._moments: ResidualMoments | None = None

    def add(self, batch: Batch, out: Embedding) -> None:
        if out.residuals is None or not self._counts:
            return
        if self._moments is None:
            self._moments = ResidualMoments.zeros(self._classes, out.residuals.shape[2], self._ranks.device)
        fold = self._fold_of_clip[batch.clip_index.cpu()].to(batch.valid.device)
        group = group_of(batch.class_index, batch.domain) + fold.clamp_min(0) * (len(self._moments.count) // FOLDS)
        self._moments.add(out.residuals, group, batch.valid & (fold >= 0))

    def gathered(self) -> ResidualMoments | None:
        """The sums of all ranks on rank 0; None elsewhere, and where no rank has any."""
        own = self._moments
        bins = self._ranks.gather_objects(0 if own is None else own.total.shape[1])
        if not any(bins):
            return None
        own = own or ResidualMoments.zeros(self._classes, max(bins), self._ranks.device)
        sums = [self._ranks.sum(x.cpu()) for x in (own.count, own.total, own.square)]
        found = [x for x in sums if x is not None]
        return replace(ResidualMoments(*found), recording=self._recording, fold=self._fold) if found else None


def columns_of(out: Embedding, batch: Batch, average: Average) -> Columns:
    """Of the readable clips of a batch, on the CPU."""
    faults = out.embedding.new_empty(*out.embedding.shape[:2], 0) if out.faults is None else out.faults
    by_window = [out.embedding, out.logits, faults]  # (B, P, …)
    if average == "embeddings":
        by_window = [x.mean(1, keepdim=True) for x in by_window]
    windows = by_window[0].shape[1]
    embedding, logits, faults = (x.flatten(0, 1) for x in by_window)
    by_clip = (batch.clip_index, batch.class_index, batch.domain, out.errors, out.features, out.loss, batch.valid)
    clip, own, domain, errors, features, loss, valid = (x.repeat_interleave(windows, 0) for x in by_clip)
    columns = (clip, own, domain, embedding, logits, errors, features, faults, loss)
    return Columns(*(x[valid].cpu() for x in columns))


def _gather(
    parts: list[Columns], views: Mapping[str, View], residuals: ResidualMoments | None, ranks: Ranks, expected: int
) -> EmbeddingPass | None:
    shapes = ranks.gather_objects([(column.shape[1:], column.dtype) for column in parts[0]] if parts else None)
    widths = next((shape for shape in shapes if shape is not None), None)
    if widths is None:
        raise ValueError("no clips to embed")
    columns: list[Tensor] = []  # one after the other, so that only one is in memory twice
    order: Tensor | None = None
    for place, (width, kind) in enumerate(widths):
        own = [part[place] for part in parts] or [torch.empty(0, *width, dtype=kind)]  # fewer batches than ranks
        column = ranks.gather_rows(torch.cat(own))
        if column is not None:
            order = torch.argsort(column, stable=True) if order is None else order
            columns.append(column.index_select(0, order))
    if not columns:
        return None
    found = Columns(*columns)
    clips = found.table(views, residuals)
    return EmbeddingPass(clips, found.loss, expected - len(clips.clip_index.unique()))
