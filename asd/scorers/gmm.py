"""-log density under a Gaussian mixture of the class's training embeddings, fitted by scikit-learn's GaussianMixture.

Legend: N rows, n training clips of a class, D embedding, P dimensions kept, K components.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pydantic
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from asd.scorers.base import EmbeddingScorerConfig, PerClassScorer
from asd.scorers.distance import Space, in_space, relative_zero
from asd.scorers.embeddings import EmbeddingTable

EM_ROUNDS = 200
EM_TOLERANCE = 1e-6  # of the mean log-likelihood per dimension

Covariance = Literal["diag", "full", "tied"]


class GmmConfig(EmbeddingScorerConfig, frozen=True):
    """components: K, at most the class's clips. covariance: `diag`, safe at any D; `full` and `tied` (one for all
    components) hold D² numbers: give pca with them where a class has fewer clips than D.

    pca: dimensions kept, of the class's own principal axes; None keeps all. regularisation: added to every variance, in
    units of the class's mean variance. space: embeddings on the unit sphere, or as they are. seed: of the start.
    """

    name: Literal["gmm"] = "gmm"
    components: pydantic.PositiveInt = 2
    covariance: Covariance = "diag"
    pca: pydantic.PositiveInt | None = None
    regularisation: pydantic.PositiveFloat = 1e-3
    space: Space = "unit"
    seed: int = 0

    @property
    def label(self) -> str:
        parts = [
            "gmm",
            "" if self.space == "unit" else self.space,
            "" if self.covariance == "diag" else self.covariance,
            f"c{self.components}" if self.components != 2 else "",
            f"pca{self.pca}" if self.pca is not None else "",
            f"r{self.regularisation:g}" if self.regularisation != 1e-3 else "",
            f"seed{self.seed}" if self.seed != 0 else "",
        ]
        return "_".join(filter(None, parts))


@dataclass(frozen=True)
class Mixture:
    """log_weight (K,), mean (K, P), factor: standard deviations (K, P) or Cholesky factors (K or 1, P, P); float64."""

    log_weight: Tensor
    mean: Tensor
    factor: Tensor

    def log_joint(self, rows: Tensor) -> Tensor:
        """log(weight · density) of rows (N, P) in each component, (N, K)."""
        square = self._diagonal_square(rows) if self.factor.dim() == 2 else self._square(rows)
        return self.log_weight - self.normaliser() - 0.5 * square

    def normaliser(self) -> Tensor:
        """(K or 1,) log of what a component's density is divided by."""
        scales = self.factor if self.factor.dim() == 2 else self.factor.diagonal(dim1=1, dim2=2)
        return scales.log().sum(dim=1) + 0.5 * self.mean.shape[1] * math.log(2.0 * math.pi)

    def _diagonal_square(self, rows: Tensor) -> Tensor:
        """Squared Mahalanobis distances (N, K), multiplied out: no (N, K, P) of differences."""
        precision = self.factor.square().reciprocal()
        shifted = precision * self.mean
        return rows.square() @ precision.T - 2.0 * rows @ shifted.T + (shifted * self.mean).sum(dim=1)

    def _square(self, rows: Tensor) -> Tensor:
        factors = self.factor.expand(len(self.mean), -1, -1)
        units = [
            torch.linalg.solve_triangular(factor, (rows - mean).T, upper=False)
            for mean, factor in zip(self.mean, factors, strict=True)
        ]
        return torch.stack([u.square().sum(dim=0) for u in units], dim=1)


@dataclass(frozen=True)
class Whitened(Mixture):
    """The same with log heights (K,) for weights and inverse factors (K, P) or (K, P, P): nothing is to be solved."""

    @classmethod
    def of(cls, mixture: Mixture, components: int, kept: int) -> Whitened:
        """Filled up to so many components, which have no weight, and dimensions, in which nothing lies."""
        diagonal = mixture.factor.dim() == 2
        inverse = mixture.factor.reciprocal() if diagonal else torch.linalg.inv(mixture.factor)
        more, wider = components - len(mixture.mean), kept - mixture.mean.shape[1]
        dimensions = (0, wider) if diagonal else (0, wider, 0, wider)
        return cls(
            F.pad(mixture.log_weight - mixture.normaliser(), (0, more), value=-torch.inf),
            F.pad(mixture.mean, (0, wider, 0, more)),
            F.pad(inverse.expand(len(mixture.mean), *inverse.shape[1:]), (*dimensions, 0, more)),
        )

    def log_joint(self, rows: Tensor) -> Tensor:
        centred = rows[:, None] - self.mean
        diagonal = self.factor.dim() == 2
        units = centred * self.factor if diagonal else (self.factor @ centred.unsqueeze(3)).squeeze(3)
        return self.log_weight - 0.5 * units.square().sum(2)


@dataclass(frozen=True)
class Gaussians:
    """Where a class is centred, (D,), its axes (D, P) or None, its spread, and its mixture in those units."""

    centre: Tensor
    axes: Tensor | None
    spread: float
    mixture: Mixture

    def to_units(self, rows: Tensor) -> Tensor:
        return _project(rows - self.centre, self.axes) / self.spread


class Gmm(PerClassScorer[Gaussians]):
    """-log density in units of the class's own spread. One training clip, or equal ones: one narrow Gaussian there."""

    def __init__(self, config: GmmConfig) -> None:
        super().__init__(config)
        self.config = config

    def fit_class(self, train: EmbeddingTable) -> Gaussians:
        rows = in_space(train.embedding, self.config.space)
        centre = rows.mean(dim=0)
        equal = float((rows - centre).norm(dim=1).square().mean().sqrt()) <= relative_zero(rows)
        axes = None if equal or self.config.pca is None else principal_axes(rows - centre, self.config.pca)
        rows = _project(rows - centre, axes)
        spread = 1.0 if equal else float(rows.square().mean().sqrt())
        return Gaussians(centre, axes, spread, fit_mixture(rows / spread, self.config))

    def score_class(self, model: Gaussians, test: EmbeddingTable) -> Tensor:
        rows = model.to_units(in_space(test.embedding, self.config.space))
        return -model.mixture.log_joint(rows).logsumexp(dim=1)

    def traceable(self, models: Sequence[Gaussians]) -> Sequence[Gaussians]:
        """With inverse factors, as ONNX solves no equations, and all of one size."""
        components, kept = (max(model.mixture.mean.shape[axis] for model in models) for axis in (0, 1))
        return [replace(model, mixture=Whitened.of(model.mixture, components, kept)) for model in models]


def fit_mixture(rows: Tensor, config: GmmConfig, tolerance: float = EM_TOLERANCE) -> Mixture:
    """Expectation-maximisation on rows (n, P) from a k-means start; the same seed gives the same mixture.

    tolerance: of the mean log-likelihood per dimension, below which a round is the last.
    """
    from sklearn.mixture import GaussianMixture  # here: half a second to import

    components = min(config.components, len(rows.unique(dim=0)))
    model = GaussianMixture(
        components,
        covariance_type=config.covariance,
        tol=tolerance * rows.shape[1],
        reg_covar=config.regularisation,
        max_iter=EM_ROUNDS,
        random_state=config.seed,
    )
    rows = rows.repeat(2, 1) if len(rows) == 1 else rows  # scikit-learn asks for two; equal ones are the same mixture
    with threadpool_limits(1), warnings.catch_warnings():
        # A second thread on two busy cores was measured to cost six times the time: the steps are short.
        warnings.filterwarnings("ignore", "Best performing initialization did not converge")
        model.fit(rows.numpy())
    weight, mean, covariance = (torch.from_numpy(x) for x in (model.weights_, model.means_, model.covariances_))
    if config.covariance == "tied":
        covariance = covariance[None]
    factor = covariance.sqrt() if config.covariance == "diag" else torch.linalg.cholesky(covariance)
    return Mixture(weight.log(), mean, factor)


def principal_axes(centred: Tensor, count: int) -> Tensor:
    """The first principal axes (D, P) of centred rows (n, D), at most as many as these span."""
    most = max(min(count, len(centred) - 1, centred.shape[1]), 1)
    axes: Tensor = torch.linalg.svd(centred, full_matrices=False).Vh[:most].T
    return axes


def _project(centred: Tensor, axes: Tensor | None) -> Tensor:
    return centred if axes is None else centred @ axes
