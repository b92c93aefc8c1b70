"""The normal recordings of a machine that a detector keeps: few of many, with all that its scorers read of them.

They show what is normal where the data is not at hand, and scorers can be fitted to them anew. Legend: N rows, n clips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pydantic
import torch
from torch import Tensor

from asd.detector.picture import BANDS, COLUMNS, in_decibels, picture_of
from asd.scorers import EmbeddingTable, ScorerConfig, reads
from asd.scorers.core_set import k_centre, standardised
from asd.scorers.embeddings import View

INDICES = ("clip_index", "domain", "recording", "held_out")
VALUES = ("embedding", "logits", "errors", "features", "faults")


class Shown(NamedTuple):
    """What is kept of a clip's sound."""

    name: str
    seconds: float
    picture: Tensor  # (M, W) uint8
    decibels: tuple[float, float]

    @classmethod
    def of(cls, name: str, samples: np.ndarray, sample_rate: int) -> Shown:
        """Of samples (T,) int16."""
        return cls(name, len(samples) / sample_rate, *picture_of(samples, sample_rate))


class Normals(pydantic.BaseModel, extra="forbid", frozen=True, arbitrary_types_allowed=True):
    """Of one machine. A row is a clip, or a window of one where a system scores windows; clips ascend by clip_index.

    columns: those of EmbeddingTable that the scorers read, and `features`. names: of the recordings. pictures:
    (n, M, W) uint8 (asd.detector.picture). decibels: (n, 2) float32 that 0 and 255 of each stand for.
    """

    columns: dict[str, Tensor]
    names: tuple[str, ...]
    seconds: tuple[pydantic.PositiveFloat, ...]
    pictures: Tensor
    decibels: Tensor

    @classmethod
    def of(cls, rows: EmbeddingTable, kept: Collection[str], clips: Iterable[Shown]) -> Normals:
        """Of rows of one machine, of which these columns are kept, and their clips, ascending by clip_index."""
        names, seconds, pictures, decibels = zip(*clips, strict=True)
        columns = {name: getattr(rows, name) for name in (*INDICES, *(value for value in VALUES if value in kept))}
        return cls(
            columns=columns,
            names=names,
            seconds=seconds,
            pictures=torch.stack(pictures),
            decibels=torch.tensor(decibels, dtype=torch.float32),
        )

    @pydantic.model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        if strange := self.columns.keys() - {*INDICES, *VALUES}:
            raise ValueError(f"there is no column {min(strange)}")
        if missing := {*INDICES} - self.columns.keys():
            raise ValueError(f"column {min(missing)} is missing")
        count = len(self.table(0, {}).clips()[0])
        shapes = (tuple(self.pictures.shape), tuple(self.decibels.shape), len(self.names), len(self.seconds))
        if shapes != ((count, BANDS, COLUMNS), (count, 2), count, count):
            raise ValueError(f"names, seconds and pictures are not those of {count} clips")
        if self.pictures.dtype != torch.uint8 or self.decibels.dtype != torch.float32:
            raise ValueError("pictures are not of 8 bits")
        return self

    def table(self, own: int, views: Mapping[str, View]) -> EmbeddingTable:
        """The rows as scorers see them, of class `own`; columns that no scorer reads are empty (N, 0)."""
        count = len(self.columns["clip_index"])
        columns: dict[str, Any] = {name: self.columns.get(name, torch.empty(count, 0)) for name in VALUES}
        columns |= {name: self.columns[name] for name in INDICES}
        return EmbeddingTable(**columns, class_index=torch.full((count,), own, dtype=torch.int64), views=dict(views))

    def select(self, rows: Tensor) -> Normals:
        """The clips of these rows (k,), ascending."""
        clips = torch.isin(self.columns["clip_index"].unique(), self.columns["clip_index"][rows])
        places = clips.nonzero().flatten()
        return Normals(
            columns={name: column[rows] for name, column in self.columns.items()},
            names=tuple(self.names[place] for place in places.tolist()),
            seconds=tuple(self.seconds[place] for place in places.tolist()),
            pictures=self.pictures[places],
            decibels=self.decibels[places],
        )

    def join(self, other: Normals) -> Normals:
        """Of both: columns that both hold. Clips of the other must have the larger indices."""
        return Normals(
            columns={
                name: torch.cat([column, other.columns[name]])
                for name, column in self.columns.items()
                if name in other.columns
            },
            names=self.names + other.names,
            seconds=self.seconds + other.seconds,
            pictures=torch.cat([self.pictures, other.pictures]),
            decibels=torch.cat([self.decibels, other.decibels]),
        )

    def sounds(self) -> list[bytes]:
        """What tells clips apart: picture and level of each."""
        pairs = zip(self.pictures, self.decibels, strict=True)
        return [picture.numpy().tobytes() + level.numpy().tobytes() for picture, level in pairs]

    def picture(self, clip: int) -> Tensor:
        """(M, W) float32 in decibels of the clip at a place among the names."""
        low, high = self.decibels[clip].tolist()
        return in_decibels(self.pictures[clip], low, high)


def core_rows(rows: EmbeddingTable, count: int, first: Tensor | None = None) -> Tensor:
    """Indices ascending of at most `count` rows of one class, or of one clip's, that stand for all (k-centre).

    A clip is chosen with all of its windows, by the means of what is kept of it, standardised. first: clip indices that
    are chosen in any case.
    """
    clips = rows.per_clip()
    space = torch.cat([standardised(clips.embedding), standardised(clips.features)], dim=1)
    wanted = None if first is None else torch.isin(clips.clip_index, first).nonzero().flatten()
    chosen = clips.clip_index[k_centre(space, max(1, count * len(clips) // len(rows)), wanted)]
    return torch.isin(rows.clip_index, chosen).nonzero().flatten()


def kept_columns(scorers: Sequence[ScorerConfig]) -> set[str]:
    """Columns of EmbeddingTable that these scorers read; `features` always, which the room is judged by."""
    found = {str(name) for config in scorers for name in reads(config)}
    return ({"embedding" if name == "residuals" else name for name in found} & {*VALUES}) | {"features"}
