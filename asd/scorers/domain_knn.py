"""Nearest neighbours in a bank for each domain, of which the nearer one counts; the few clips of the target domain grow
by SMOTE, as in the public code of ASDKit, or by MemMixup. Distances may be taken relative to how close the clips of a
bank lie to each other (see asd.scorers.density), and on the scale of the bank's own clips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal, Self

import pydantic
import torch
from torch import Tensor

from asd.scorers.bank import BankConfig, in_bank
from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.density import Summary, local_density
from asd.scorers.distance import Metric, rows_of
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.growing import Points, mem_mixup, smote
from asd.scorers.knn import nearest_distance
from asd.scorers.scale import Scale, scale_of

TARGET = 2  # asd.data.manifest.DOMAINS.index("target")


class DomainKnnConfig(EmbeddingScorerConfig, BankConfig, frozen=True):
    """k: neighbours in each bank. metric: as of knn. smote: share of the class's other clips to which those of the
    target domain grow by points between neighbours; 0: they stay as they are. mem_mixup: in the place of smote, each
    target clip is mixed with so many of its nearest other clips, 0.9 to 0.1. density: distances to a training clip are
    divided by the mean or sum of that clip's own to its nearest of the same bank. nearer: the bank that counts has the
    smaller distance, or the smaller one in standard deviations above the mean of its own clips.
    """

    name: Literal["domain_knn"] = "domain_knn"
    k: pydantic.PositiveInt = 1
    metric: Metric = "cosine"
    smote: float = pydantic.Field(0.2, ge=0, le=1)
    mem_mixup: pydantic.NonNegativeInt = 0
    density: Literal["none"] | Summary = "none"
    density_k: pydantic.PositiveInt = 4  # neighbours of a training clip that make its density
    target_density_k: pydantic.PositiveInt | None = None  # the same in the bank of target clips; None: density_k
    # percentile of the steps between sorted distances, above which a step ends a clip's neighbours; None: all count
    cluster_exit: float | None = pydantic.Field(None, gt=0, lt=100)
    nearer: Literal["distance", "z_score"] = "distance"

    @pydantic.model_validator(mode="after")
    def _is_of_a_density(self) -> Self:
        if self.density == "none" and (self.target_density_k is not None or self.cluster_exit is not None):
            raise ValueError("target_density_k and cluster_exit are of a density: give density, mean or sum")
        return self

    @property
    def label(self) -> str:
        parts = [
            "domain_knn",
            "" if self.metric == "cosine" else self.metric,
            f"k{self.k}" if self.k > 1 else "",
            f"mix{self.mem_mixup}" if self.mem_mixup else "" if self.smote == 0.2 else f"smote{self.smote:g}",
            "" if self.density == "none" else self.density,
            "" if self.density_k == 4 else f"d{self.density_k}",
            "" if self.target_density_k is None else f"t{self.target_density_k}",
            "" if self.cluster_exit is None else f"exit{self.cluster_exit:g}",
            "z" if self.nearer == "z_score" else "",
        ]
        return "_".join(filter(None, parts))


@dataclass(frozen=True)
class Bank(EmbeddingTable):
    """Training rows of a domain, and the scale of distances to them."""

    density: Tensor | None = None  # (n,) float64, by which the distance to each row is divided
    centre: float = 0.0  # of the bank's own clips
    spread: float = 1.0


class DomainKnn(PerClassScorer[list[Bank]]):
    """The distance to the nearer of two banks, target clips and others; whose clip a test clip is need not be known.

    A class without target clips has one bank: its scores are those of knn (with density: mean, of local_knn). Densities
    and scales are those of the recorded clips; a new point has the density of the clip that it was made from.
    """

    def __init__(self, config: DomainKnnConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> list[Bank]:
        target = train.domain == TARGET
        parts = [self._kept(train.select(rows)) for rows in (~target, target) if rows.any()]
        densities = self._densities(parts)
        scales = self._scales(parts, densities)
        if len(parts) == 2:
            new = self._new_points(*parts)
            rows = torch.cat([torch.arange(len(parts[1])), new.origin])
            embedding = torch.cat([parts[1].embedding, new.embedding])
            parts[1] = replace(parts[1].select(rows), embedding=embedding)
            densities[1] = None if densities[1] is None else densities[1][rows]
        return [
            Bank(**vars(part), density=density, centre=float(scale.centre), spread=float(scale.spread))
            for part, density, scale in zip(parts, densities, scales, strict=True)
        ]

    def _kept(self, part: EmbeddingTable) -> EmbeddingTable:
        return in_bank(part, self.config, part.embedding, self.config.metric, self.config.k)

    def score_class(self, model: list[Bank], test: EmbeddingTable) -> Tensor:
        scores = ((self._distance(test, bank, bank.density) - bank.centre) / bank.spread for bank in model)
        return reduce(torch.fmin, scores)

    def _distance(self, clips: EmbeddingTable, bank: EmbeddingTable, density: Tensor | None) -> Tensor:
        query, known = (rows_of(rows, self.config.metric) for rows in (clips, bank))
        return nearest_distance(query, known, self.config.k, self.config.metric, density)

    def _densities(self, parts: list[EmbeddingTable]) -> list[Tensor | None]:
        """Of each bank; one that has none, of a single clip or of equal ones, takes the mean of the other's."""
        config = self.config
        if config.density == "none":
            return [None] * len(parts)
        found = []
        for part in parts:
            own_k = config.target_density_k if int(part.domain[0]) == TARGET else None
            bank = rows_of(part, config.metric, apart="clip_index")
            k = own_k or config.density_k
            found.append(local_density(bank, k, config.metric, config.density, config.cluster_exit))
        known = next((density for density in found if density is not None), None)
        if known is None:
            return found
        usual = known.mean()
        return [usual.expand(len(p)) if d is None else d for p, d in zip(parts, found, strict=True)]

    def _scales(self, parts: list[EmbeddingTable], densities: list[Tensor | None]) -> list[Scale]:
        """Mean and spread of the distances of each bank's clips, left out in turn; of a single recording, the other's.

        As distances are, where these are compared as they are.
        """
        if self.config.nearer == "distance":
            return [scale_of(torch.zeros(1, 1, dtype=torch.float64), recordings=1)] * len(parts)
        recordings = [len(part.recording.unique()) for part in parts]
        own = [self._distance(part, part, density)[None] for part, density in zip(parts, densities, strict=True)]
        scales = [scale_of(scores, count) for scores, count in zip(own, recordings, strict=True)]
        usual = scales[recordings.index(max(recordings))]
        return [usual if count == 1 else scale for scale, count in zip(scales, recordings, strict=True)]

    def _new_points(self, source: EmbeddingTable, target: EmbeddingTable) -> Points:
        config = self.config
        if config.mem_mixup:
            return mem_mixup(target.embedding, source.embedding, config.mem_mixup, config.metric)
        return smote(target.embedding, int(config.smote * len(source)), config.metric)
