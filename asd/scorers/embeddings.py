"""What one pass of the network over a list of clips leaves behind: all that any scorer sees.

N rows, D embedding, C classes, A machines, M mel bands. A row is a clip, or a window of a clip where a system scores
windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scorers.residuals import ResidualMoments

_DTYPES = {
    "clip_index": torch.int64,
    "class_index": torch.int64,
    "domain": torch.int64,
    "recording": torch.int64,
    "held_out": torch.int64,
    "embedding": torch.float32,
    "logits": torch.float32,
    "errors": torch.float32,
    "features": torch.float32,
    "faults": torch.float32,
}
_STORED = tuple(name for name in _DTYPES if name not in ("recording", "held_out"))
ERRORS = ("mean", "median", "std")  # the columns of `errors`
View = tuple[int, int, int]  # first column, the one behind the last, bands: columns are (values, bands) in a row


@dataclass(frozen=True)
class EmbeddingTable:
    """One row a clip, or a window; CPU tensors.

    clip_index (N,) int64, into the clips table. class_index (N,) int64, into the class table: the clip's own class.
    domain (N,) int64, into manifest.DOMAINS. embedding (N, D) float32; logits (N, C) float32, without margin, C = 0
    where the network tells no classes apart; errors (N, 3) float32, a clip's reconstruction error summed up in the ways
    of `ERRORS`, (N, 0) where nothing is reconstructed. features (N, M) float32, time-mean log-mel of the clip in dB.
    faults (N, A) float32, log odds that it is none of a machine's normal sounds, (N, 0) without a head for that.
    """

    clip_index: Tensor
    class_index: Tensor
    domain: Tensor
    embedding: Tensor
    logits: Tensor
    errors: Tensor
    features: Tensor
    residuals: ResidualMoments | None = None  # of training clips whose spectrograms are reconstructed
    recording: Tensor = None  # type: ignore[assignment]  # (N,) int64, what a clip is left out with; itself as a rule
    held_out: Tensor = None  # type: ignore[assignment]  # (N,) int64, 1: the network did not learn from it
    views: Mapping[str, View] = field(default_factory=dict)  # parts of the embedding that the network names
    faults: Tensor = None  # type: ignore[assignment]  # none, as a rule
    known_faults: EmbeddingTable | None = None  # training clips labelled anomaly, where scorers learn from them

    def __post_init__(self) -> None:
        if self.recording is None:
            object.__setattr__(self, "recording", self.clip_index)
        if self.faults is None:
            object.__setattr__(self, "faults", torch.empty(len(self), 0))
        if self.held_out is None:
            object.__setattr__(self, "held_out", torch.zeros_like(self.clip_index))
        for name, dtype in _DTYPES.items():
            tensor = getattr(self, name)
            dimensions = 1 if dtype == torch.int64 else 2
            if tensor.dtype != dtype or tensor.dim() != dimensions or tensor.device.type != "cpu":
                found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
                raise ValueError(
                    f"EmbeddingTable.{name} must be {dtype} with {dimensions} dimensions on the CPU, is {found}"
                )
            if len(tensor) != len(self.clip_index):
                raise ValueError(f"EmbeddingTable.{name} has {len(tensor)} rows, clip_index has {len(self.clip_index)}")

    def __len__(self) -> int:
        return len(self.clip_index)

    def select(self, mask_or_index: Tensor) -> EmbeddingTable:
        """The rows that a boolean mask (N,) or an index tensor (n,) names, in that order."""
        is_mask = mask_or_index.dtype == torch.bool
        rows = mask_or_index.nonzero().flatten() if is_mask else mask_or_index
        # Whole rows are copied; [] looks up one number at a time, which took five times as long.
        columns: dict[str, Any] = {name: getattr(self, name).index_select(0, rows) for name in _DTYPES}
        return replace(self, **columns)

    def only(self, name: str, view: str | None = None) -> EmbeddingTable:
        """The same rows with one of embedding, logits, errors, features and faults; the others have no columns. So have
        known faults.

        view: of the embedding, these columns alone, which are then all that the table knows of.
        """
        bare = (n for n, dtype in _DTYPES.items() if dtype == torch.float32 and n != name)
        columns: dict[str, Any] = {n: torch.empty(len(self), 0) for n in bare}
        if view is not None and name == "embedding":
            if view not in self.views:
                known = ", ".join(self.views) or "none"
                raise UserError(f"the embeddings have no view {view} (they have {known}): embed the checkpoint again")
            first, last, bands = self.views[view]
            columns |= {"embedding": self.embedding[:, first:last], "views": {view: (0, last - first, bands)}}
        if self.known_faults is not None:
            columns["known_faults"] = self.known_faults.only(name, view)
        return replace(self, **columns)

    def seen_through(self, view: str) -> EmbeddingTable:
        """The same rows with these columns of the embedding alone; as they are where there is no such view."""
        if view not in self.views:
            return self
        first, last, _ = self.views[view]
        return replace(self, embedding=self.embedding[:, first:last], views={})

    def rows_by_class(self) -> dict[int, Tensor]:
        """Class → indices (n,) of its rows, ascending."""
        order = self.class_index.argsort(stable=True)
        classes, counts = self.class_index.unique(return_counts=True)
        return dict(zip(classes.tolist(), order.split(counts.tolist()), strict=True))

    def clips(self) -> tuple[Tensor, Tensor]:
        """(clip indices ascending (n,), position of every row's clip among them (N,))."""
        return self.clip_index.unique(return_inverse=True)

    def per_clip(self) -> EmbeddingTable:
        """One row a clip, in ascending clip index: the means over its windows."""
        clips, position = self.clips()
        if len(clips) == len(self) and bool((clips == self.clip_index).all()):
            return self
        means = {name: mean_by(getattr(self, name), position, len(clips)) for name in _DTYPES}
        columns: dict[str, Any] = {name: mean.to(_DTYPES[name]) for name, mean in means.items()}
        return replace(self, **columns)

    def join(self, other: EmbeddingTable) -> EmbeddingTable:
        """The rows of both."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in _DTYPES}
        columns: dict[str, Any] = {name: torch.cat(pair) for name, pair in pairs.items()}
        return replace(self, **columns)

    def to_tensors(self, prefix: str) -> dict[str, Tensor]:
        """`<prefix>.<field>` → tensor, as safetensors stores them. Recordings are the manifest's to tell."""
        return {f"{prefix}.{name}": getattr(self, name).contiguous() for name in _STORED}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str, views: Mapping[str, View]) -> EmbeddingTable:
        """The inverse of `to_tensors`, with the views of these embeddings; UserError where a tensor is missing."""
        columns: dict[str, Any] = {name: tensors.get(f"{prefix}.{name}") for name in _STORED}
        if missing := [name for name in columns if columns[name] is None and name != "faults"]:
            raise UserError(f"the embeddings hold no {prefix}.{missing[0]}: embed the checkpoint again")
        return cls(**columns, views=views)


def all_finite(rows: Tensor) -> bool:
    """Whether rows (N, …) hold neither NaN nor infinity. Their sum tells in a fiftieth of the time of looking at each
    number, unless it overflows."""
    return bool(rows.sum().isfinite()) or bool(rows.isfinite().all())


def mean_by(rows: Tensor, position: Tensor, count: int) -> Tensor:
    """Mean (count, …) float64 of the rows (N, …) that have each position (N,)."""
    total = torch.zeros(count, *rows.shape[1:], dtype=torch.float64).index_add_(0, position, rows.double())
    return total / position.bincount(minlength=count).view(-1, *[1] * (rows.dim() - 1))
