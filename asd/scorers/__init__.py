"""Scorers: fit on what is normal, score a test clip against its own class. Look one up by its config's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pydantic

from asd.scorers.band_knn import BandKnn, BandKnnConfig
from asd.scorers.base import EmbeddingScorerConfig, Reads, Scorer, check_classes
from asd.scorers.centroid import Centroid, CentroidConfig
from asd.scorers.domain_knn import DomainKnn, DomainKnnConfig
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.gmm import Gmm, GmmConfig
from asd.scorers.knn import Knn, KnnConfig
from asd.scorers.local_knn import LocalKnn, LocalKnnConfig
from asd.scorers.lof import Lof, LofConfig
from asd.scorers.log_odds import LogOdds, LogOddsConfig
from asd.scorers.mahalanobis import Mahalanobis, MahalanobisConfig
from asd.scorers.neg_log_softmax import NegLogSoftmax, NegLogSoftmaxConfig
from asd.scorers.pca_residual import PcaResidual, PcaResidualConfig
from asd.scorers.reconstruction import Reconstruction, ReconstructionConfig
from asd.scorers.selective_mahalanobis import SelectiveMahalanobis, SelectiveMahalanobisConfig
from asd.scorers.softmax import Softmax, SoftmaxConfig
from asd.scorers.untrained import UntrainedKnn, UntrainedKnnConfig

ScorerConfig = Annotated[
    SoftmaxConfig
    | NegLogSoftmaxConfig
    | CentroidConfig
    | KnnConfig
    | DomainKnnConfig
    | LocalKnnConfig
    | BandKnnConfig
    | MahalanobisConfig
    | GmmConfig
    | PcaResidualConfig
    | LofConfig
    | LogOddsConfig
    | ReconstructionConfig
    | SelectiveMahalanobisConfig
    | UntrainedKnnConfig,
    pydantic.Field(discriminator="name"),
]

SCORERS: dict[str, Callable[[Any], Scorer]] = {
    "softmax": Softmax,
    "neg_log_softmax": NegLogSoftmax,
    "centroid": Centroid,
    "knn": Knn,
    "domain_knn": DomainKnn,
    "local_knn": LocalKnn,
    "band_knn": BandKnn,
    "mahalanobis": Mahalanobis,
    "gmm": Gmm,
    "pca_residual": PcaResidual,
    "lof": Lof,
    "log_odds": LogOdds,
    "reconstruction": Reconstruction,
    "selective_mahalanobis": SelectiveMahalanobis,
    "untrained_knn": UntrainedKnn,
}


def build_scorer(config: ScorerConfig) -> Scorer:
    """The scorer of a config, not yet fitted."""
    return SCORERS[config.name](config)


def reads(config: ScorerConfig) -> Reads:
    """What of a network's output the scorer of a config looks at."""
    scorer: Any = SCORERS[config.name]
    found: Reads = scorer.wants or scorer.reads
    return found


def views(config: ScorerConfig) -> set[str]:
    """The views of the embedding that the scorer of a config names."""
    return {config.view} if isinstance(config, EmbeddingScorerConfig) and config.view is not None else set()


def scorer_label(config: ScorerConfig) -> str:
    """The scorer's column in scores.csv: its name, every setting that differs from the default, and its view."""
    view: str | None = getattr(config, "view", None)
    return config.label if view is None else f"{config.label}_{view}"


__all__ = [
    "SCORERS",
    "BandKnnConfig",
    "CentroidConfig",
    "DomainKnnConfig",
    "EmbeddingTable",
    "GmmConfig",
    "KnnConfig",
    "LocalKnnConfig",
    "LofConfig",
    "LogOddsConfig",
    "MahalanobisConfig",
    "NegLogSoftmaxConfig",
    "PcaResidualConfig",
    "ReconstructionConfig",
    "Scorer",
    "ScorerConfig",
    "SelectiveMahalanobisConfig",
    "SoftmaxConfig",
    "UntrainedKnnConfig",
    "build_scorer",
    "check_classes",
    "reads",
    "scorer_label",
    "views",
]
