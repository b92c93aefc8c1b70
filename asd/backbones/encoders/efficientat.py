"""EfficientAT's MobileNetV3 (Schmid, Koutini & Widmer, ICASSP 2023, arXiv 2211.04772), from the files that its authors
publish.

Legend: B batch, T samples, F frames, M mel bands, C channels of a stage, m × f places of its map.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from asd.backbones.blocks import scaled
from asd.backbones.encoders.base import EncoderSettings, Layers, PretrainedEncoder, Read, run_block
from asd.backbones.encoders.pooling import Tokens
from asd.backbones.encoders.spectrum import power_spectrum
from asd.errors import UserError
from asd.files.weights import read_weights

WHAT = "state dict of EfficientAT's MobileNetV3"
ADVICE = "name one that its authors publish, such as mn04_as_mAP_432.pt"
RATE = 32_000  # Hz
N_FFT, WINDOW = 1024, 800  # samples
LOWEST, HIGHEST = 0.0, 15_000.0  # Hz, of the mel bands
PREEMPHASIS, FLOOR = 0.97, 1e-5
OFFSET, SCALE = 4.5, 5.0  # of the logarithms, as the authors' code has them
WIDTHS = (0.1, 0.2, 0.4, 0.5, 1.0, 2.0, 3.0, 4.0)  # that the authors publish: mn01 to mn40
SQUEEZE = 4  # channels of a stage's expansion for each of its squeezed description


class Row(NamedTuple):
    """A bottleneck of MobileNetV3-Large (Howard et al. 2019, table 1) at width 1."""

    kernel: int
    expanded: int
    out: int
    squeezes: bool
    hard: bool  # Hardswish, else ReLU
    stride: int


STEM, LAST = 16, 6  # channels behind the first convolution; those of the last one for each of the last bottleneck
ROWS = tuple(
    Row(*row)
    for row in (
        (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
    )
)  # fmt: skip
STAGES = len(ROWS) + 2


class EfficientAtConfig(EncoderSettings, frozen=True):
    """17 stages over a mel spectrogram of 32 kHz: a convolution, 15 bottlenecks, a convolution of 4 rows of bands.

    weights: a state dict with the classifier `mlp`, mn01 to mn40.
    """

    rate: ClassVar[int] = RATE

    name: Literal["efficientat"] = "efficientat"
    layers: Layers = (STAGES,)  # of 1 to 17, whose maps make the embedding, each a view of it, such as layer_17
    hop: int = pydantic.Field(default=320, ge=32, le=3200)  # samples: 10 ms; files called hop_15 were trained with 480
    n_mels: int = pydantic.Field(default=128, ge=32, le=512)  # files called mels_64 were trained with 64
    width: float | None = pydantic.Field(default=None, gt=0, le=4)  # of the network, mn10: 1.0; filled in from the file

    @pydantic.field_validator("layers")
    @classmethod
    def _there_are(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if layers[-1] > STAGES:
            raise ValueError(f"this encoder has layers 1 to {STAGES}")
        return layers

    def least_frames(self) -> int:
        return N_FFT // 2 + 2  # a reflection of half a window has to be there

    def read(self, path: Path) -> Read:
        tree = read_weights(path, WHAT, ADVICE)
        if not isinstance(tree, dict) or not isinstance(last := tree.get(f"features.{STAGES - 1}.0.weight"), Tensor):
            raise UserError(f"{path} is no {WHAT}: {ADVICE}")
        width = next((width for width in WIDTHS if channels_of(width)[-1] == len(last)), None)
        if width is None or "classifier.0.weight" in tree:
            raise UserError(
                f"{path} is a network of {len(last)} channels or with a fully convolutional classifier, where mn01 to "
                f"mn40 with the classifier mlp are known here: {ADVICE}"
            )
        tensors = {}
        for name, tensor in tree.items():
            part, _, rest = name.partition(".")
            stage = rest.partition(".")[0]
            if part == "classifier" or (stage.isdecimal() and self.layers[-1] <= int(stage) < STAGES):
                continue
            tensors[name.replace(".block.", ".layers.").replace(".conc_se_layers.0.", ".")] = tensor
        return Read(path, {"width": width}, tensors)


class EfficientAt(PretrainedEncoder):
    """(B, 1, 1, T) → (B, D)."""

    def __init__(self, config: EfficientAtConfig, channels: int, bins: int) -> None:
        if config.width is None:
            raise ValueError("width is missing")
        network = MobileNetV3(config, config.width)
        grids = list(zip(rows_of(config.n_mels), channels_of(config.width), strict=True))
        super().__init__(config, network, [grids[number - 1] for number in config.layers])


def channels_of(width: float) -> list[int]:
    """C of each stage."""
    inner = [scaled(channels, width) for channels in (STEM, *(row.out for row in ROWS))]
    return [*inner, LAST * inner[-1]]


def rows_of(n_mels: int) -> list[int]:
    """m of each stage: every stride halves it, rounding up."""
    found = [n_mels]
    for stride in (2, *(row.stride for row in ROWS), 1):
        found.append(-(-found[-1] // stride))
    return found[1:]


class MobileNetV3(nn.Module):
    """The first stages, as many as the last layer needs."""

    def __init__(self, config: EfficientAtConfig, width: float) -> None:
        super().__init__()
        self.again, self.bank = config.checkpointing, MelBank(config.hop, config.n_mels)
        channels = channels_of(width)
        stages: list[nn.Module] = [Convolution(1, channels[0], 3, 2)]
        stages += [Bottleneck(inner, row, width) for inner, row in zip(channels, ROWS, strict=False)]
        stages.append(Convolution(channels[-2], channels[-1]))
        self.features = nn.ModuleList(stages[: config.layers[-1]])

    def forward(self, waveform: Tensor, layers: Collection[int]) -> list[Tokens]:
        """(B, T) → tokens (B, f, m, C) of each layer."""
        x, found = self.bank(waveform).unsqueeze(1), []
        for number, stage in enumerate(self.features, 1):
            x = run_block(stage, self.again, x)
            if number in layers:
                found.append(Tokens(x.permute(0, 3, 2, 1)))
        return found


class MelBank(nn.Module):
    """(B, T) at 32 kHz → (B, M, F), F = 1 + (T - 1) // hop, in float32: pre-emphasis, power spectrum of centred frames
    under a Hann window, triangles on Kaldi's mel scale, logarithm, brought to about -1 … 1."""

    window: Tensor
    bank: Tensor

    def __init__(self, hop: int, n_mels: int) -> None:
        super().__init__()
        self.hop, side = hop, (N_FFT - WINDOW) // 2
        with torch.device("cpu"):  # no weights: they are there also where the rest is a sketch (device meta)
            window = F.pad(torch.hann_window(WINDOW, periodic=False), (side, side))
            bank = get_mel_banks(n_mels, N_FFT, RATE, LOWEST, HIGHEST, 100.0, -500.0, 1.0)[0]
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("bank", bank, persistent=False)  # (M, N_FFT / 2)

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            raised = waveform[:, 1:] - PREEMPHASIS * waveform[:, :-1]
            power = power_spectrum(raised, self.window, self.hop)[..., :-1]  # (B, F, N_FFT / 2)
            return ((self.bank @ power.transpose(1, 2) + FLOOR).log() + OFFSET) / SCALE


class Convolution(nn.Sequential):
    """Convolution, BN, and where there is one an activation: (B, C, m, f) → (B, C', m / stride, f / stride)."""

    def __init__(
        self, inner: int, outer: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: type | None = nn.Hardswish
    ) -> None:
        convolution = nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outer, eps=1e-3, momentum=0.01), *([act()] if act else []))


class Bottleneck(nn.Module):
    """Expansion (where it is one), depth-wise convolution, squeeze and excitation, projection; a shortcut where shapes
    allow it."""

    def __init__(self, inner: int, row: Row, width: float) -> None:
        super().__init__()
        expanded, outer = scaled(row.expanded, width), scaled(row.out, width)
        act = nn.Hardswish if row.hard else nn.ReLU
        layers: list[nn.Module] = [] if expanded == inner else [Convolution(inner, expanded, act=act)]
        layers.append(Convolution(expanded, expanded, row.kernel, row.stride, expanded, act))
        if row.squeezes:
            layers.append(Excitation(expanded))
        self.layers = nn.Sequential(*layers, Convolution(expanded, outer, act=None))
        self.adds = row.stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class Excitation(nn.Module):
    """Channels weighed by a sigmoid of what all places hold together: (B, C, m, f) → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = scaled(channels // SQUEEZE, 1.0)
        self.fc1, self.fc2 = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3))))).sigmoid()[..., None, None]
