"""The scorers that stand alone, by their config's name: what a config may list, and what `fused` may combine."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from asd.scorers.band_knn import BandKnn, BandKnnConfig
from asd.scorers.bank import MOST
from asd.scorers.base import PerClassScorer
from asd.scorers.centroid import Centroid, CentroidConfig
from asd.scorers.domain_knn import DomainKnn, DomainKnnConfig
from asd.scorers.fault_head import FaultHead, FaultHeadConfig
from asd.scorers.gmm import Gmm, GmmConfig
from asd.scorers.knn import Knn, KnnConfig
from asd.scorers.local_knn import LocalKnn, LocalKnnConfig
from asd.scorers.lof import Lof, LofConfig
from asd.scorers.log_odds import LogOdds, LogOddsConfig
from asd.scorers.mahalanobis import Mahalanobis, MahalanobisConfig
from asd.scorers.matched_filter import MatchedFilter, MatchedFilterConfig
from asd.scorers.neg_log_softmax import NegLogSoftmax, NegLogSoftmaxConfig
from asd.scorers.pca_residual import PcaResidual, PcaResidualConfig
from asd.scorers.reconstruction import Reconstruction, ReconstructionConfig
from asd.scorers.selective_mahalanobis import SelectiveMahalanobis, SelectiveMahalanobisConfig
from asd.scorers.softmax import Softmax, SoftmaxConfig
from asd.scorers.untrained import UntrainedKnn, UntrainedKnnConfig

AnyMember = (
    SoftmaxConfig
    | NegLogSoftmaxConfig
    | CentroidConfig
    | KnnConfig
    | LocalKnnConfig
    | BandKnnConfig
    | DomainKnnConfig
    | MahalanobisConfig
    | GmmConfig
    | PcaResidualConfig
    | LofConfig
    | LogOddsConfig
    | ReconstructionConfig
    | SelectiveMahalanobisConfig
    | UntrainedKnnConfig
    | FaultHeadConfig
    | MatchedFilterConfig
)
MemberConfig = Annotated[AnyMember, pydantic.Field(discriminator="name")]

MEMBERS: dict[str, type[PerClassScorer[Any]]] = {
    "softmax": Softmax,
    "neg_log_softmax": NegLogSoftmax,
    "centroid": Centroid,
    "knn": Knn,
    "local_knn": LocalKnn,
    "band_knn": BandKnn,
    "domain_knn": DomainKnn,
    "mahalanobis": Mahalanobis,
    "gmm": Gmm,
    "pca_residual": PcaResidual,
    "lof": Lof,
    "log_odds": LogOdds,
    "reconstruction": Reconstruction,
    "selective_mahalanobis": SelectiveMahalanobis,
    "untrained_knn": UntrainedKnn,
    "fault_head": FaultHead,
    "matched_filter": MatchedFilter,
}


def member_label(config: AnyMember) -> str:
    """Its name, every setting that differs from the default, and its view."""
    bank, view = getattr(config, "bank", MOST), getattr(config, "view", None)
    return "_".join(filter(None, [config.label, "" if bank == MOST else f"bank{bank}", view]))
