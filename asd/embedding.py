"""One pass of a network over whole clips, spread over all ranks."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from asd.data.batch import Batch
from asd.data.loader import Loader, whole_clip_requests
from asd.data.plan import equal_length_batches
from asd.distributed import Ranks
from asd.scorers import Embedded


@dataclass(frozen=True)
class Embeddings:
    """All clips of a pass in ascending clip index, and the clean loss of each, (N,)."""

    clips: Embedded
    loss: Tensor
    unreadable: int  # clips that could not be read and are left out

    def of(self, wanted: np.ndarray) -> tuple[Embedded, Tensor]:
        """Embeddings and clean losses of the given clip indices."""
        mask = torch.isin(self.clips.clip_index, torch.from_numpy(wanted.astype(np.int64)))
        return self.clips.select(mask), self.loss[mask]


def embed_clips(
    task: nn.Module,
    loader: Loader,
    ranks: Ranks,
    clips: np.ndarray,
    batch_samples: int,
    first_samples: int | None = None,
    show_progress: bool = False,
) -> Embeddings | None:
    """Embed clips with all ranks; the result on rank 0, None elsewhere.

    Batches hold clips of one exact length and do not depend on the number of ranks, so neither do the embeddings.
    """
    frames = loader.manifest.frames[clips] if first_samples is None else np.full(len(clips), first_samples)
    batches = [clips[b] for b in equal_length_batches(frames, batch_samples)][ranks.rank :: ranks.world_size]
    task.eval()
    parts: list[tuple[Tensor, ...]] = []
    stream = loader.stream(whole_clip_requests(loader.manifest, batches, first_samples))
    console = Console(file=sys.stderr)
    for batch in track(stream, "embedding", len(batches), console=console, disable=not show_progress):
        parts.append(_embed(task, batch, ranks))
    return _gather(parts, task, loader, ranks, len(clips))


def _embed(task: nn.Module, batch: Batch, ranks: Ranks) -> tuple[Tensor, ...]:
    """(clip index, class, embedding, logits, features, loss) of the readable clips of a batch, on the CPU."""
    with ranks.autocast():
        out = task.embed(batch)  # type: ignore[operator]
    columns = (batch.clip_index, batch.class_index, out.embedding, out.logits, out.features, out.loss)
    return tuple(column[batch.valid].cpu() for column in columns)


def _gather(
    parts: list[tuple[Tensor, ...]], task: nn.Module, loader: Loader, ranks: Ranks, expected: int
) -> Embeddings | None:
    own = [torch.cat(column) for column in zip(*parts, strict=True)]
    widths = next((w for w in ranks.gather_objects([c.shape[1:] for c in own]) if w), None)
    if widths is None:
        raise ValueError("no clips to embed")
    if not own:  # fewer batches than ranks
        kinds = [torch.int64, torch.int64, *[torch.float32] * 4]
        own = [torch.empty(0, *width, dtype=kind) for width, kind in zip(widths, kinds, strict=True)]
    columns = [ranks.gather_rows(column) for column in own]
    if columns[0] is None:
        return None
    order = torch.argsort(columns[0])
    clip, class_index, embedding, logits, features, loss = (c[order] for c in columns if c is not None)
    return Embeddings(Embedded(clip, class_index, embedding, logits, features), loss, expected - len(clip))
