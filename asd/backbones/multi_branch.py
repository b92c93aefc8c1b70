"""Several spectra of one clip, each with a network of its own (Fujimura et al., ICASSP 2025; Wilkinghoff 2021).

Legend: B batch, T samples, K bins, F frames, W width of a branch, h × f positions of a map, D embedding.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from asd.backbones.base import Backbone, BackboneSettings, before_last
from asd.backbones.norms import norm1d, norm2d
from asd.errors import UserError
from asd.frontends.spectrum import PowerSpectrum, SpectrumConfig

Norm = Literal["batch", "sync"]  # bins are normalised over clips: a norm within a clip would not do
WindowSizes = Annotated[tuple[Annotated[int, pydantic.Field(ge=64, le=65_536)], ...], pydantic.Field(min_length=1)]

FILTERS = ((256, 64), (64, 32), (16, 4))  # kernel and stride of the convolutions over the spectrum of a whole clip
LAYERS = 5  # behind them
LEAST = 11  # bins and frames, so that one value is left behind the first convolution and the pooling
SQUEEZE = 16


class MultiBranchConfig(BackboneSettings, frozen=True):
    """The embedding is the branches' outputs side by side: `width` values for each of them."""

    takes_waveform: ClassVar[bool] = True

    name: Literal["multi_branch"] = "multi_branch"
    n_fft: WindowSizes = (256, 1024, 4096)  # samples of a window, a branch each; the hop is half of it
    max_period: int = pydantic.Field(80, ge=2)  # samples; slower waves are left out: 80 is 200 Hz at 16 kHz
    # samples of every clip, of whose spectrum one more branch is made; null: none, and clips of any length
    fft_samples: pydantic.PositiveInt | None = 160_000
    width: int = pydantic.Field(128, ge=8, multiple_of=8)  # values of a branch's output, channels of its last maps
    norm: Norm = "batch"  # sync: statistics of the global batch

    @pydantic.model_validator(mode="after")
    def _spectra_are_large_enough(self) -> MultiBranchConfig:
        for n_fft in self.n_fft:
            if self.bins_of(n_fft) < LEAST:
                raise ValueError(
                    f"max_period={self.max_period} leaves n_fft={n_fft} {max(self.bins_of(n_fft), 0)} bins, "
                    f"where {LEAST} are needed: raise one of them"
                )
        if self.fft_samples is not None and self.fft_samples < least_samples():
            raise ValueError(
                f"fft_samples={self.fft_samples} is too short for the filters over its spectrum, which need "
                f"{least_samples()}: use longer clips, or null for none of that branch"
            )
        return self

    def fixed_frames(self, windowed: bool) -> int | None:
        return self.fft_samples

    def least_frames(self) -> int:
        """Samples, of which the longest window makes the frames that its branch needs."""
        return max(spectrum_of(n_fft).samples_for(LEAST) for n_fft in self.n_fft)

    def bins_of(self, n_fft: int) -> int:
        """K of the branch with this window."""
        return n_fft // 2 + 1 - self.first_bin(n_fft)

    def first_bin(self, n_fft: int) -> int:
        """The lowest bin that a branch sees: the first whose period is at most `max_period`."""
        return -(-n_fft // self.max_period)


def spectrum_of(n_fft: int) -> SpectrumConfig:
    """Short-time spectra of one branch."""
    return SpectrumConfig(n_fft=n_fft, hop=n_fft // 2)


def least_samples() -> int:
    """The shortest clip on whose spectrum every filter has a place."""
    bins = 1
    for kernel, stride in reversed(FILTERS):
        bins = (bins - 1) * stride + kernel
    return 2 * (bins - 1)


class MultiBranch(Backbone):
    """(B, 1, 1, T) → (B, D)."""

    def __init__(self, config: MultiBranchConfig, channels: int, bins: int) -> None:
        super().__init__()
        self.whole = None if config.fft_samples is None else SpectrumBranch(config, config.fft_samples)
        self.branches = nn.ModuleList(SpectrogramBranch(config, n_fft) for n_fft in config.n_fft)
        self.embedding_dim = config.width * (len(config.n_fft) + (self.whole is not None))

    def forward(self, given: Tensor) -> Tensor:
        """(B, 1, 1, T) float32 → (B, D)."""
        waveform = given[:, 0, 0]
        found = [branch(waveform) for branch in self.branches]
        return torch.cat(found if self.whole is None else [self.whole(waveform).to(found[0].dtype), *found], 1)

    def before_last_block(self) -> list[nn.Module]:
        """Of every branch what lies before its last residual block; of the whole spectrum's its filters."""
        resting: list[nn.Module] = [] if self.whole is None else [self.whole.filters]
        for branch in self.branches:
            assert isinstance(branch, SpectrogramBranch)
            resting += before_last(Block, [branch.per_bin, branch.stem, *branch.blocks])
        return resting


class SpectrumBranch(nn.Module):
    """The magnitudes of the clip's one spectrum → three wide filters along frequency → layers → (B, W).

    All of it in float32: it is small, magnitudes of a tone of full scale are beyond float16, and nothing normalises
    them before the third filter.
    """

    def __init__(self, config: MultiBranchConfig, samples: int) -> None:
        super().__init__()
        self.samples, width, left = samples, config.width, samples // 2 + 1
        filters: list[nn.Module] = []
        for kernel, stride in FILTERS:
            inner = width if filters else 1
            filters += [nn.Conv1d(inner, width, kernel, stride, bias=False), nn.ReLU(), SqueezeExcitation(width)]
            left = (left - kernel) // stride + 1
        self.filters = nn.Sequential(*filters)
        layers: list[nn.Module] = [nn.Flatten()]
        for index in range(LAYERS):
            inner = width * left if index == 0 else width
            layers += [nn.Linear(inner, width, bias=False), norm1d(config.norm, width, affine=False), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, width, bias=False))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) → (B, W); UserError where T is not the length that the branch is made for."""
        if waveform.shape[1] != self.samples:
            raise UserError(
                f"a clip of {waveform.shape[1]} samples does not fit a network for {self.samples}: set data.crop_s and "
                "evaluate.first_s to that length, or backbone.fft_samples=null"
            )
        with torch.autocast(waveform.device.type, enabled=False):
            return self.layers(self.filters(torch.fft.rfft(waveform.float()).abs().unsqueeze(1)))


class SpectrogramBranch(nn.Module):
    """Magnitudes of short-time spectra, no decibels, each bin normalised → a small ResNet → (B, W).

    The maximum over time is taken of the last maps, (B, W, h, f) → (B, W, h): so clips may have any length.
    """

    def __init__(self, config: MultiBranchConfig, n_fft: int) -> None:
        super().__init__()
        spectrum, first, norm = spectrum_of(n_fft), config.width // 8, config.norm
        with torch.device("cpu"):  # a window is no weight: it is there also where the rest is a sketch (device meta)
            self.power = PowerSpectrum(spectrum)
        self.first_bin = config.first_bin(n_fft)
        self.least = spectrum.samples_for(LEAST)
        bins = config.bins_of(n_fft)
        self.per_bin = norm2d(norm, bins, affine=False)
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 7, 2, bias=False), norm2d(norm, first, affine=False), nn.ReLU(), nn.MaxPool2d(3, 2)
        )
        widths = [first, first, 2 * first, 4 * first, 8 * first]
        self.blocks = nn.Sequential(
            *(
                Block(inner if repeat == 0 else outer, outer, 2 if inner != outer and repeat == 0 else 1, norm)
                for inner, outer in pairwise(widths)
                for repeat in range(2)
            )
        )
        values = config.width * _high(bins)
        self.project = nn.Sequential(norm1d(norm, values, affine=False), nn.Linear(values, config.width, bias=False))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) → (B, W); UserError where T is too short."""
        if waveform.shape[1] < self.least:
            raise UserError(
                f"a clip of {waveform.shape[1]} samples is too short for n_fft={self.power.config.n_fft} of backbone "
                f"multi_branch, which needs {self.least}: use longer clips and crops, or shorter n_fft"
            )
        normalised = self.per_bin(self.magnitudes(waveform).unsqueeze(2)).transpose(1, 2)
        return self.project(self.blocks(self.stem(normalised)).max(3).values.flatten(1))

    def magnitudes(self, waveform: Tensor) -> Tensor:
        """(B, T) → (B, K, F), in units of the window: white noise of deviation 1 has a mean square of 1."""
        power = self.power(waveform)[:, self.first_bin :]
        return (power / self.power.window.square().sum()).sqrt()


class Block(nn.Module):
    """BN; from there BN-free shortcut (pooling and 1x1 where the map shrinks) beside ReLU, 3x3, BN, ReLU, 3x3, SE."""

    def __init__(self, inner: int, outer: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.norm = norm2d(norm, inner, affine=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.Conv2d(inner, outer, 1, bias=False))
        self.residual = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            norm2d(norm, outer, affine=False),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            SqueezeExcitation(outer),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.shortcut(x) + self.residual(x)


class SqueezeExcitation(nn.Module):
    """Channels weighed by a sigmoid of what all positions hold together; (B, channels, …), no biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // SQUEEZE)
        self.weigh = nn.Sequential(
            nn.Linear(channels, squeezed, bias=False),
            nn.ReLU(),
            nn.Linear(squeezed, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x.flatten(2).mean(2)).view(*x.shape[:2], *[1] * (x.dim() - 2))


def _high(bins: int) -> int:
    """h of the last maps of so many bins: two steps without padding, then three that halve, rounded up."""
    high = ((bins - 7) // 2 + 1 - 3) // 2 + 1
    for _ in range(3):
        high = (high + 1) // 2
    return high
