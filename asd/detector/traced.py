"""A whole detector as one module, from the samples of a window to decisions. Legend: T samples, P windows that the
network makes of it, S scorers, C classes, M bins."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from asd.data.batch import Batch
from asd.detector.file import DetectorFile
from asd.frontends.ignored import fill_of, heard_through
from asd.scorers import EmbeddingTable
from asd.scorers.state import restored
from asd.scorers.traced import NOWHERE, traced
from asd.tasks.base import Embedding, Task
from asd.tasks.reference import embed


class TracedDetector(nn.Module):
    """(waveform (1, T) int16, of near and reference microphone (1, 2, T), class (1,) int64) → scores (S,) float64,
    thresholds (S,) float64, nan where a machine has none, decisions (S,) bool, embedding (1, P, D), and logits
    (1, P, C) where the network tells classes apart."""

    sign: Tensor  # (C,)
    thresholds: Tensor  # (C, S)
    fills: Tensor  # (K, M, M): what bins are made of, for each kind of ignored bands
    fill_index: Tensor  # (C,) int64

    def __init__(self, file: DetectorFile, task: Task) -> None:
        super().__init__()
        classes = range(len(file.classes))
        self.task, self.average, self.reference_weight = task, file.average, file.reference_weight
        self.scorers = nn.ModuleList(
            traced(scorer.config, restored(scorer.config, scorer.state), len(classes)) for scorer in file.scorers
        )
        signs = torch.tensor([-1.0 if own in file.flipped else 1.0 for own in classes], dtype=torch.float64)
        self.register_buffer("sign", signs)
        rows = [[scorer.thresholds.get(own, torch.nan) for scorer in file.scorers] for own in classes]
        self.register_buffer("thresholds", torch.tensor(rows, dtype=torch.float64))
        bands = [file.ignored.get(own, ()) for own in classes]
        kinds = list(dict.fromkeys(bands))
        self._ignores = any(kinds)
        if self._ignores:
            self.register_buffer("fills", torch.stack([fill_of(task, kind) for kind in kinds]))
            self.register_buffer("fill_index", torch.tensor([kinds.index(own) for own in bands]))

    def forward(self, waveform: Tensor, own: Tensor) -> tuple[Tensor, ...]:
        none = torch.zeros(1, dtype=torch.int64)
        with heard_through(self.task, self.fills[self.fill_index[own]][0]) if self._ignores else nullcontext():
            if self.reference_weight is None:
                out = self.task.embed(Batch(waveform, none, none, none, none, none == 0, 0, 0, 0))
            else:
                near, reference = waveform.unbind(1)
                batch = Batch(near, none, none, none, none, none == 0, 0, 0, 0, reference=reference)
                out = embed(self.task, batch, self.reference_weight)
        rows = self._rows(out, own)
        scores = torch.stack([scorer(rows, own).mean() for scorer in self.scorers]) * self.sign[own]
        thresholds = self.thresholds[own][0]
        found = (scores, thresholds, scores > thresholds, out.embedding)
        return (*found, out.logits) if out.logits.shape[-1] else found

    def _rows(self, out: Embedding, own: Tensor) -> EmbeddingTable:
        """A row for each window, of a recording that no training clip is of."""
        faults = out.embedding.new_empty(1, out.embedding.shape[1], 0) if out.faults is None else out.faults
        by_window = [out.embedding, out.logits, faults]
        if self.average == "embeddings":
            by_window = [x.mean(1, keepdim=True) for x in by_window]
        embedding, logits, faults = (x[0].float() for x in by_window)
        errors, features = (x.float().expand(len(embedding), -1) for x in (out.errors, out.features))
        nowhere = torch.full((len(embedding),), NOWHERE)
        domain = torch.zeros_like(nowhere)
        return EmbeddingTable(
            nowhere, own.expand(len(embedding)), domain, embedding, logits, errors, features,
            views=self.task.views, faults=faults,
        )  # fmt: skip
