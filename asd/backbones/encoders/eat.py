"""EAT (Chen et al., IJCAI 2024, arXiv 2401.03497), from the folder that its authors publish on a hub.

Legend: B batch, T samples, F frames, f × s tokens in time and frequency, L = 1 + f·s with that of the whole clip,
D values, H heads.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.backbones.encoders.base import EncoderSettings, PretrainedEncoder, Read, Size, run_block, sizes_of
from asd.backbones.encoders.pooling import Tokens
from asd.errors import UserError
from asd.files.weights import read_description, read_weights
from asd.frontends.kaldi import KaldiBank, samples_for

WHAT = "file of EAT's weights"
ADVICE = "name the folder of its model.safetensors and config.json, such as that of EAT-base_epoch30_pretrain"
BANDS, PATCH = 128, 16
MEAN, DEVIATION = -4.268, 4.569  # of the filter bank on AudioSet, as the authors' code has them
LONGEST = 4096  # places in time that a description may ask for: eleven minutes
KNOWN = {
    "patch_size": 16, "stride": 16, "in_chans": 1, "mel_bins": 128, "qkv_bias": True, "layer_norm_first": False,
    "norm_affine": True, "fixed_positions": True,
}  # fmt: skip


class EatSizes(pydantic.BaseModel, frozen=True):
    """What config.json calls them."""

    embed_dim: int = pydantic.Field(default=768, ge=4, le=8192, multiple_of=4)  # values of a token, D
    depth: int = pydantic.Field(default=12, ge=1, le=256)  # blocks
    num_heads: Size = 12  # H
    mlp_ratio: float = pydantic.Field(default=4.0, gt=0, le=64)  # values between the two layers of a block, for each D
    norm_eps: float = pydantic.Field(default=1e-6, gt=0, lt=1)  # of every normalisation
    max_length: int = pydantic.Field(default=768, ge=1, le=LONGEST)  # places in time that there are positions for


class EatConfig(EncoderSettings, frozen=True):
    """12 blocks of 768 values over patches of 16 frames (160 ms) and 16 of 128 mel bands: 8 bands of tokens, and one
    token of the whole clip (pool: cls)."""

    has_whole: ClassVar[bool] = True
    adapts: ClassVar[tuple[str, ...]] = ("qkv",)  # one layer for queries, keys and values

    name: Literal["eat"] = "eat"
    # frames, to which shorter clips are filled up by zeros: 1024, of 10.24 s, is what EAT was trained on
    pad_frames: int = pydantic.Field(default=1024, ge=PATCH, le=LONGEST * PATCH, multiple_of=PATCH)
    sizes: EatSizes | None = None  # of the network; filled in from the file

    def least_frames(self) -> int:
        return samples_for(1)

    def read(self, path: Path) -> Read:
        file = path / "model.safetensors" if path.is_dir() else path
        tree = read_weights(file, WHAT, ADVICE)
        if not isinstance(tree, dict) or not all(isinstance(tensor, Tensor) for tensor in tree.values()):
            raise UserError(f"{file} is no {WHAT}: {ADVICE}")
        description = file.with_name("config.json")
        sizes = sizes_of(EatSizes, read_description(description, WHAT, ADVICE), KNOWN, description)
        if self.layers[-1] > sizes.depth:
            raise UserError(f"backbone.layers={list(self.layers)}: {file} has {sizes.depth} blocks")
        return Read(file, {"sizes": sizes}, _renamed(tree, self.layers[-1], sizes, file))


class Eat(PretrainedEncoder):
    """(B, 1, 1, T) → (B, D)."""

    def __init__(self, config: EatConfig, channels: int, bins: int) -> None:
        if config.sizes is None:
            raise ValueError("sizes are missing")
        network = EatNetwork(config, config.sizes)
        super().__init__(config, network, [(BANDS // PATCH, config.sizes.embed_dim)] * len(config.layers))


class EatNetwork(nn.Module):
    """Patches with fixed positions, and a token of the whole → blocks, each normalised behind its residual sums."""

    positions: Tensor

    def __init__(self, config: EatConfig, sizes: EatSizes) -> None:
        super().__init__()
        width = sizes.embed_dim
        self.pad_frames, self.again, self.longest = config.pad_frames, config.checkpointing, sizes.max_length
        self.bank = KaldiBank("hanning", BANDS)
        self.patches = nn.Conv2d(1, width, PATCH, PATCH)
        self.whole = nn.Parameter(torch.zeros(1, 1, width))
        self.norm = nn.LayerNorm(width, sizes.norm_eps)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(config.layers[-1]))
        with torch.device("cpu"):  # no weight: it is there also where the rest is a sketch (device meta)
            positions = grid_positions(sizes.max_length, BANDS // PATCH, width)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, waveform: Tensor, layers: Collection[int]) -> list[Tokens]:
        """(B, T) → tokens (B, f, s, D) and (B, D) of each layer. UserError where a clip has no positions."""
        spectrogram = self.bank(waveform - waveform.mean(1, keepdim=True))
        frames = max(self.pad_frames, -(-spectrogram.shape[1] // PATCH) * PATCH)
        if frames > self.longest * PATCH:
            raise UserError(
                f"a clip of {waveform.shape[1]} samples is too long for this EAT, which has positions for "
                f"{samples_for(self.longest * PATCH)}: use shorter clips, or evaluate.first_s"
            )
        filled = F.pad(spectrogram, (0, 0, 0, frames - spectrogram.shape[1]))
        maps = self.patches(((filled - MEAN) / (2 * DEVIATION)).unsqueeze(1))  # (B, D, f, s)
        x = maps.flatten(2).transpose(1, 2) + self.positions[: maps.shape[2]].flatten(0, 1)
        x, found = self.norm(torch.cat([self.whole.expand(len(x), -1, -1), x], 1)), []
        for number, block in enumerate(self.blocks, 1):
            x = run_block(block, self.again, x)
            if number in layers:
                found.append(Tokens(x[:, 1:].unflatten(1, maps.shape[2:]), x[:, 0]))
        return found


class Block(nn.Module):
    """Attention, then two layers."""

    def __init__(self, sizes: EatSizes) -> None:
        super().__init__()
        width, hidden, self.heads = sizes.embed_dim, int(sizes.embed_dim * sizes.mlp_ratio), sizes.num_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = (nn.LayerNorm(width, sizes.norm_eps) for _ in "12")

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, L, D / H) each
        x = self.norm1(x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))
        return self.norm2(x + self.fc2(F.gelu(self.fc1(x))))


def grid_positions(high: int, wide: int, width: int) -> Tensor:
    """(high, wide, width): sines and cosines of the place in frequency, then of that in time (He et al. 2022, MAE)."""
    frequency = 1.0 / 10_000 ** (torch.arange(width // 4) / (width / 4))
    across, along = (torch.arange(count)[:, None] * frequency for count in (wide, high))
    across, along = (torch.cat([angle.sin(), angle.cos()], 1) for angle in (across, along))
    return torch.cat([across[None].expand(high, -1, -1), along[:, None].expand(-1, wide, -1)], 2)


RENAMED = (("local_encoder.proj.", "patches."), ("extra_tokens", "whole"), ("pre_norm.", "norm."))


def _renamed(tree: dict[str, Tensor], depth: int, sizes: EatSizes, file: Path) -> dict[str, Tensor]:
    """The tensors of a file under our names; without blocks that are not used, the classifier and the positions."""
    found = {}
    for name, tensor in tree.items():
        own = name.removeprefix("model.")
        block = re.match(r"blocks\.(\d+)\.", own)
        if own.startswith(("head.", "fc_norm.")) or (block and depth <= int(block[1]) < sizes.depth):
            continue
        if own == "fixed_positional_encoder.positions":
            wanted = grid_positions(sizes.max_length, BANDS // PATCH, sizes.embed_dim).flatten(0, 1)[None]
            if tensor.shape != wanted.shape or not torch.allclose(tensor.float(), wanted, atol=1e-3):
                raise UserError(f"{file} is of no EAT that is known here: {name} are not the usual sines and cosines")
            continue
        for theirs, ours in RENAMED:
            own = ours + own.removeprefix(theirs) if own.startswith(theirs) else own
        found[own.replace(".attn.", ".").replace(".mlp.", ".")] = tensor
    return found
