"""Scorers: fit on what is normal, score a test clip against its own class. Look one up by its config's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pydantic

from asd.scorers.band_knn import BandKnnConfig
from asd.scorers.base import EmbeddingScorerConfig, Reads, Scorer, check_classes
from asd.scorers.centroid import CentroidConfig
from asd.scorers.domain_knn import DomainKnnConfig
from asd.scorers.embeddings import EmbeddingTable
from asd.scorers.fault_head import FaultHeadConfig
from asd.scorers.fused import Fused, FusedConfig
from asd.scorers.gmm import GmmConfig
from asd.scorers.knn import KnnConfig
from asd.scorers.local_knn import LocalKnnConfig
from asd.scorers.lof import LofConfig
from asd.scorers.log_odds import LogOddsConfig
from asd.scorers.mahalanobis import MahalanobisConfig
from asd.scorers.matched_filter import MatchedFilterConfig
from asd.scorers.members import MEMBERS, AnyMember, member_label
from asd.scorers.neg_log_softmax import NegLogSoftmaxConfig
from asd.scorers.pca_residual import PcaResidualConfig
from asd.scorers.reconstruction import ReconstructionConfig
from asd.scorers.selective_mahalanobis import SelectiveMahalanobisConfig
from asd.scorers.softmax import SoftmaxConfig
from asd.scorers.untrained import UntrainedKnnConfig

ScorerConfig = Annotated[AnyMember | FusedConfig, pydantic.Field(discriminator="name")]

SCORERS: dict[str, Callable[[Any], Scorer]] = {**MEMBERS, "fused": Fused}


def build_scorer(config: ScorerConfig) -> Scorer:
    """The scorer of a config, not yet fitted."""
    return SCORERS[config.name](config)


def members_of(config: ScorerConfig) -> tuple[AnyMember, ...]:
    """The scorers that a config combines, each with its view; itself where it stands alone."""
    return config.expanded() if isinstance(config, FusedConfig) else (config,)


def reads(config: ScorerConfig) -> set[Reads]:
    """What of a network's output the scorer of a config looks at."""
    kinds: list[Any] = [MEMBERS[member.name] for member in members_of(config)]
    return {kind.wants or kind.reads for kind in kinds}


def views(config: ScorerConfig) -> set[str]:
    """The views of the embedding that the scorer of a config names."""
    own = (member.view for member in members_of(config) if isinstance(member, EmbeddingScorerConfig))
    return {view for view in own if view is not None}


def reads_all_of_the_embedding(config: ScorerConfig) -> bool:
    """Whether a scorer, or one that it combines, reads the embedding and names no view of it."""
    return any("embedding" in reads(member) and getattr(member, "view", None) is None for member in members_of(config))


def learns_from_faults(config: ScorerConfig) -> bool:
    """Whether a scorer, or one that it combines, is fitted to known faults as well."""
    return any(MEMBERS[member.name].learns_from_faults for member in members_of(config))


def falls_back(config: ScorerConfig) -> bool:
    """Whether what a network has learnt counts only as far as held-out clips show that it beats a spectrum."""
    return isinstance(config, FusedConfig) and bool(config.trained)


def scorer_label(config: ScorerConfig) -> str:
    """The scorer's column in scores.csv."""
    return config.label if isinstance(config, FusedConfig) else member_label(config)


__all__ = [
    "SCORERS",
    "BandKnnConfig",
    "CentroidConfig",
    "DomainKnnConfig",
    "EmbeddingTable",
    "FaultHeadConfig",
    "FusedConfig",
    "GmmConfig",
    "KnnConfig",
    "LocalKnnConfig",
    "LofConfig",
    "LogOddsConfig",
    "MahalanobisConfig",
    "MatchedFilterConfig",
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
    "falls_back",
    "learns_from_faults",
    "members_of",
    "reads",
    "reads_all_of_the_embedding",
    "scorer_label",
    "views",
]
