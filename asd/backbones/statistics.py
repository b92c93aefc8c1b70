"""Statistics of a clip's bands over time: an embedding without training.

Rank-weighted pooling: Guan, Liu, Zhu et al., Time-Weighted Frequency Domain Audio Representation with GMM Estimator for
Anomalous Sound Detection (ICASSP 2023). There it is of log-mels; here of their power, so that r = 1 is the mean power.
Legend: B batch, C channels, M bins, F frames, K statistics of a bin, D embedding.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
import torch
from torch import Tensor

from asd.backbones.base import Backbone, BackboneSettings, View

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WITHOUT_LEVEL = "_level"  # ends the name of a view whose clips are brought to one level


class StatisticsConfig(BackboneSettings, frozen=True):
    """For spectrograms in dB. Views: `mean`, `mean_std`, `quantiles` (5, 25, 50, 75 and 95 %) and `twfr_<r>` for each
    rank weight r; and each once more with `_level` behind its name: the clip's mean level, over bins and time, is taken
    away, so that no gain of the microphone matters.

    ranks: r of the rank-weighted means: a bin's power is sorted over time, loudest frame first, and weighted by r^rank:
    1 is the mean power, 0 the loudest frame alone; in between, short events count for more than their length.
    """

    name: Literal["statistics"] = "statistics"
    ranks: tuple[Annotated[float, pydantic.Field(ge=0, le=1)], ...] = (1.0, 0.99, 0.95, 0.9, 0.0)

    @pydantic.field_validator("ranks")
    @classmethod
    def _told_apart(cls, ranks: tuple[float, ...]) -> tuple[float, ...]:
        if len({f"{r:g}" for r in ranks}) < len(ranks):
            raise ValueError("it names a rank weight twice")
        return ranks

    def sizes(self) -> dict[str, int]:
        """Statistics, in the order of the embedding → how many values each has of a bin."""
        return {"mean": 1, "mean_std": 2, "quantiles": len(QUANTILES), **{f"twfr_{r:g}": 1 for r in self.ranks}}

    def view_names(self) -> tuple[str, ...]:
        return tuple(name + level for name in self.sizes() for level in ("", WITHOUT_LEVEL))


class Statistics(Backbone):
    """(B, C, M, F) → (B, D), every view's values in turn, bin by bin within each value. No weights."""

    def __init__(self, config: StatisticsConfig, channels: int, bins: int) -> None:
        super().__init__()
        self.config = config
        bands, first = channels * bins, 0
        self.views = {}
        for name, size in zip(config.view_names(), (k for k in config.sizes().values() for _ in "12"), strict=True):
            self.views[name] = View(first, first + size * bands, bands)
            first += size * bands
        self.embedding_dim = first

    def forward(self, spectrogram: Tensor) -> Tensor:
        bands = spectrogram.float().flatten(1, 2)  # (B, C·M, F)
        louder = bands.sort(dim=2).values
        mean = bands.mean(2, keepdim=True)
        spread = bands.std(2, correction=0, keepdim=True)
        pooled = [mean, torch.cat([mean, spread], 2), quantiles(louder)]
        pooled += [rank_weighted_mean(louder, r).unsqueeze(2) for r in self.config.ranks]  # (B, C·M, K) each
        level = mean.mean(1, keepdim=True)
        views = []
        for own in pooled:
            without = own - level
            if own is pooled[1]:
                without[:, :, 1] = own[:, :, 1]  # a spread has no level
            views += [own, without]
        return torch.cat([view.transpose(1, 2).flatten(1) for view in views], 1)


def quantiles(ascending: Tensor) -> Tensor:
    """(…, F) sorted over time → (…, 5): those of `QUANTILES`, linear between neighbours."""
    at = torch.tensor(QUANTILES, dtype=torch.float64) * (ascending.shape[-1] - 1)
    below = at.floor().long()
    share = (at - below).to(ascending)
    low, high = (ascending[..., i.clamp_max(ascending.shape[-1] - 1)] for i in (below, below + 1))
    return low + share * (high - low)


def rank_weighted_mean(ascending: Tensor, r: float) -> Tensor:
    """(…, F) dB sorted over time → (…) dB: the power of every frame weighted by r^rank, the loudest has rank 0."""
    frames = ascending.shape[-1]
    weight = torch.full((frames,), r, dtype=torch.float64).pow(torch.arange(frames - 1, -1, -1))  # 0^0 is 1
    weight = (weight / weight.sum()).to(ascending)
    loudest = ascending[..., -1:]
    power = (10.0 ** ((ascending - loudest) / 10.0) * weight).sum(-1)  # at least the loudest frame's weight
    return loudest.squeeze(-1) + 10.0 * torch.log10(power)
