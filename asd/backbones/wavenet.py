"""WaveNet (van den Oord et al. 2016) that predicts the next frame of a log-mel, or the next sample (S6).

Legend: B batch, M mel bins, F frames, T samples, L steps of either kind, R receptive field in steps, H channels.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pydantic
from torch import Tensor, nn
from torchaudio.functional import mu_law_encoding

from asd.backbones.base import Reconstructor, ReconstructorSettings
from asd.errors import UserError

LEVELS = 256  # of μ-law samples

Dilations = Annotated[tuple[pydantic.PositiveInt, ...], pydantic.Field(min_length=1)]


class CausalConfig(ReconstructorSettings, frozen=True):
    """Stacks of gated convolutions of growing dilation; no normalisation, which would look at the future."""

    channels: pydantic.PositiveInt = 64  # channels of the residual path
    skip: pydantic.PositiveInt = 128  # channels of the sum over all layers
    kernel: int = pydantic.Field(2, ge=2)  # inputs that a layer sees, each a dilation apart
    dilations: Dilations = (1, 2, 4, 8, 16)  # of a stack's layers, one after the other
    stacks: pydantic.PositiveInt = 2  # how often these layers are repeated

    @property
    def receptive_field(self) -> int:
        """Steps of the past that a prediction sees."""
        return 1 + self.stacks * (self.kernel - 1) * sum(self.dilations)


class WaveNetConfig(CausalConfig, frozen=True):
    """Frames: 63 of the past by default, 2 s at a hop of 512 samples."""

    name: Literal["wavenet"] = "wavenet"
    centre_db: float = -40.0  # inputs and outputs are shifted and scaled by these, fixed: gates saturate on decibels
    spread_db: pydantic.PositiveFloat = 20.0  # see centre_db


class SampleWaveNetConfig(CausalConfig, frozen=True):
    """Samples: 3070 of the past by default, 0.19 s at 16 kHz."""

    takes_waveform: ClassVar[bool] = True

    name: Literal["wavenet_mu_law"] = "wavenet_mu_law"
    dilations: Dilations = tuple(2**power for power in range(10))
    stacks: pydantic.PositiveInt = 3


class WaveNet(Reconstructor):
    """Log-mel → the prediction of each frame from the R frames before it; the first R frames are not predicted."""

    def __init__(self, config: WaveNetConfig, channels: int, bins: int) -> None:
        super().__init__()
        self.config = config
        features = channels * bins
        self.receptive_field = config.receptive_field
        self.input = nn.Conv1d(features, config.channels, 1)
        self.layers = CausalLayers(config)
        self.output = _head(config.skip, features)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, C, M, F) dB → (B, C, M, F − R) dB; column j predicts frame R + j from frames j … R + j − 1."""
        _check_short(self.config.name, spectrogram.shape[-1], self.receptive_field, "frames")
        past = (spectrogram[..., :-1].flatten(1, 2) - self.config.centre_db) / self.config.spread_db
        scaled = self.output(self.layers(self.input(past))).to(past.dtype)  # decibels in bf16 are rounded to half a one
        return (scaled * self.config.spread_db + self.config.centre_db).reshape(*spectrogram.shape[:-1], -1)

    def target(self, spectrogram: Tensor) -> Tensor:
        """What `forward` should give: (B, C, M, F − R), the frames from number R on."""
        return spectrogram[..., self.receptive_field :]


class SampleWaveNet(Reconstructor):
    """Waveform → logits of each μ-law sample from the R samples before it; the loss is the cross-entropy.

    Training keeps about 450 MiB for each second of 16 kHz sound at the default size: give it crops.
    """

    def __init__(self, config: SampleWaveNetConfig, channels: int, bins: int) -> None:
        super().__init__()
        self.config = config
        self.receptive_field = config.receptive_field
        self.input = nn.Embedding(LEVELS, config.channels)
        self.layers = CausalLayers(config)
        self.output = _head(config.skip, LEVELS)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) in [-1, 1) → (B, 256, T − R); column j is about sample R + j."""
        _check_short(self.config.name, waveform.shape[-1], self.receptive_field, "samples")
        past = self.input(mu_law_encoding(waveform[..., :-1], LEVELS)).transpose(1, 2)
        return self.output(self.layers(past))

    def target(self, waveform: Tensor) -> Tensor:
        """The classes that `forward` should name: (B, T − R) in 0 … 255."""
        return mu_law_encoding(waveform[..., self.receptive_field :], LEVELS)


class CausalLayers(nn.Module):
    """(B, H, L) → (B, skip, L − R + 1): each output sees its own step and the R − 1 before it, and nothing else."""

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        dilations = config.dilations * config.stacks
        self.span = config.receptive_field - 1
        self.layers = nn.ModuleList(
            GatedLayer(config, dilation, last=index == len(dilations) - 1) for index, dilation in enumerate(dilations)
        )

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[-1] - self.span
        total: Tensor | None = None
        for layer in self.layers:
            x, skip = layer(x, steps)
            total = skip if total is None else total + skip
        assert total is not None
        return total


class GatedLayer(nn.Module):
    """tanh(filter) · sigmoid(gate) of a dilated convolution, beside a shortcut, and its share of the skip sum.

    The last layer's way on leads nowhere, so it has none: DDP waits for ever for a gradient that never comes.
    """

    def __init__(self, config: CausalConfig, dilation: int, last: bool) -> None:
        super().__init__()
        self.gated = nn.Conv1d(config.channels, 2 * config.channels, config.kernel, dilation=dilation)
        self.skip = nn.Conv1d(config.channels, config.skip, 1)
        self.residual = None if last else nn.Conv1d(config.channels, config.channels, 1)

    def forward(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """(B, H, L) → the next layer's (B, H, shorter L), and (B, skip, steps)."""
        filtered, gate = self.gated(x).chunk(2, 1)
        hidden = filtered.tanh() * gate.sigmoid()
        skip = self.skip(hidden[..., -steps:])
        onward = x if self.residual is None else x[..., -hidden.shape[-1] :] + self.residual(hidden)
        return onward, skip


def _head(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Conv1d(inner, inner, 1), nn.ReLU(), nn.Conv1d(inner, outer, 1))


def _check_short(name: str, length: int, receptive_field: int, unit: str) -> None:
    if length <= receptive_field:
        raise UserError(
            f"a clip gives {length} {unit}, and {name} predicts from {receptive_field} before: give clips of at least "
            f"{receptive_field + 1} {unit}, or fewer dilations or stacks"
        )
