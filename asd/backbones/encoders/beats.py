"""BEATs (Chen et al., ICML 2023, arXiv 2212.09058), from the files that its authors publish.

Legend: B batch, T samples, F frames, f × s tokens in time and frequency, L = f·s of them, D values, H heads, h = D / H.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.backbones.encoders.base import EncoderSettings, PretrainedEncoder, Read, Size, run_block, sizes_of
from asd.backbones.encoders.pooling import Tokens
from asd.errors import UserError
from asd.files.weights import read_weights
from asd.frontends.kaldi import KaldiBank, samples_for

WHAT = "checkpoint of BEATs"
ADVICE = "name one that its authors publish, such as BEATs_iter3_plus_AS2M.pt"
BANDS = 128
MEAN, DEVIATION = 15.41663, 6.55582  # of the filter bank on AudioSet, as the authors' code has them
FULL_SCALE = 2.0**15  # Kaldi hears 16-bit numbers
KNOWN = {
    "input_patch_size": 16, "conv_bias": False, "activation_fn": "gelu", "layer_norm_first": False,
    "relative_position_embedding": True, "gru_rel_pos": True,
}  # fmt: skip


class BeatsSizes(pydantic.BaseModel, frozen=True):
    """What `cfg` of a checkpoint calls them."""

    embed_dim: Size  # values of a patch
    encoder_layers: int = pydantic.Field(ge=1, le=256)  # blocks
    encoder_embed_dim: Size  # values of a token, D
    encoder_ffn_embed_dim: Size  # values between the two layers of a block
    encoder_attention_heads: Size  # H
    deep_norm: bool = False  # whether what comes into a block is weighed more than what it adds
    conv_pos: Size = 128  # tokens that the convolution for positions sees
    conv_pos_groups: Size = 16  # its groups of channels
    num_buckets: Size = 320  # of distances between tokens
    max_distance: Size = 1280  # tokens; from here on all are one


class BeatsConfig(EncoderSettings, frozen=True):
    """12 blocks of 768 values over patches of 16 frames (160 ms) and 16 of 128 mel bands: 8 bands of tokens."""

    adapts: ClassVar[tuple[str, ...]] = ("q_proj", "v_proj")

    name: Literal["beats"] = "beats"
    sizes: BeatsSizes | None = None  # of the network; filled in from the file

    def least_frames(self) -> int:
        return samples_for(16)

    def read(self, path: Path) -> Read:
        tree = read_weights(path, WHAT, ADVICE)
        if not isinstance(tree, dict) or not all(isinstance(tree.get(key), dict) for key in ("cfg", "model")):
            raise UserError(f"{path} is no {WHAT} (it has no cfg and model): {ADVICE}")
        sizes = sizes_of(BeatsSizes, tree["cfg"], KNOWN, f"cfg of {path}")
        if self.layers[-1] > sizes.encoder_layers:
            raise UserError(f"backbone.layers={list(self.layers)}: {path} has {sizes.encoder_layers} blocks")
        return Read(path, {"sizes": sizes}, _renamed(tree["model"], self.layers[-1], sizes, path))


class Beats(PretrainedEncoder):
    """(B, 1, 1, T) → (B, D)."""

    def __init__(self, config: BeatsConfig, channels: int, bins: int) -> None:
        if config.sizes is None:
            raise ValueError("sizes are missing")
        network = BeatsNetwork(config.sizes, config.layers[-1], config.checkpointing)
        super().__init__(config, network, [(BANDS // 16, config.sizes.encoder_embed_dim)] * len(config.layers))


class BeatsNetwork(nn.Module):
    """Patches → blocks, each normalised behind its residual sums."""

    def __init__(self, sizes: BeatsSizes, depth: int, again: bool = False) -> None:
        """depth: how many blocks there are; again: their activations are computed once more in the backward pass."""
        super().__init__()
        width, kernel = sizes.encoder_embed_dim, sizes.conv_pos
        self.sizes, self.again = sizes, again
        self.bank = KaldiBank("povey", BANDS)
        self.patches = nn.Conv2d(1, sizes.embed_dim, 16, 16, bias=False)
        self.patch_norm = nn.LayerNorm(sizes.embed_dim)
        same = sizes.embed_dim == width
        self.widen: nn.Module = nn.Identity() if same else nn.Linear(sizes.embed_dim, width)
        self.position = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=sizes.conv_pos_groups)
        self.norm = nn.LayerNorm(width)
        self.buckets = nn.Embedding(sizes.num_buckets, sizes.encoder_attention_heads)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(depth))

    def forward(self, waveform: Tensor, layers: Collection[int]) -> list[Tokens]:
        """(B, T) → tokens (B, f, s, D) of each layer, f = F // 16."""
        spectrogram = (self.bank(waveform * FULL_SCALE) - MEAN) / (2 * DEVIATION)
        maps = self.patches(spectrogram.unsqueeze(1))  # (B, D, f, s)
        x = self.widen(self.patch_norm(maps.flatten(2).transpose(1, 2)))
        x = self.norm(x + F.gelu(self.position(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2))
        bias, found = self.relative(x.shape[1]), []
        for number, block in enumerate(self.blocks, 1):
            x = run_block(block, self.again, x, bias)
            if number in layers:
                found.append(Tokens(x.unflatten(1, maps.shape[2:])))
        return found

    def relative(self, count: int) -> Tensor:
        """(H, L, L): what each head adds for a key at a distance from the query, before the query's gate."""
        place = torch.arange(count, device=self.buckets.weight.device)
        return self.buckets(bucket(place[None] - place[:, None], self.sizes)).permute(2, 0, 1)


class Block(nn.Module):
    """Attention, then two layers; what comes in is weighed more than what is added (DeepNorm, Wang et al. 2022)."""

    def __init__(self, sizes: BeatsSizes) -> None:
        super().__init__()
        width = sizes.encoder_embed_dim
        self.keep = (2.0 * sizes.encoder_layers) ** 0.25 if sizes.deep_norm else 1.0
        self.attention = Attention(width, sizes.encoder_attention_heads)
        self.attention_norm, self.out_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, sizes.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(sizes.encoder_ffn_embed_dim, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.attention_norm(self.keep * x + self.attention(x, bias))
        return self.out_norm(self.keep * x + self.fc2(F.gelu(self.fc1(x))))


class Attention(nn.Module):
    """The relative position counts for each query by two gates that it opens itself (Chi et al. 2022, WavLM)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in "qkvo")
        self.gates = nn.Linear(width // heads, 8)
        self.gate_scale = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, D), (H, L, L) → (B, L, D)."""
        projected = (layer(x) for layer in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in projected)  # (B, H, L, h)
        update, reset = self.gates(q).unflatten(3, (2, 4)).sum(4).sigmoid().chunk(2, 3)  # (B, H, L, 1)
        gate = update * (reset * self.gate_scale - 1) + 2
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=(gate * bias).to(q.dtype))
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


def bucket(distance: Tensor, sizes: BeatsSizes) -> Tensor:
    """Signed distances in tokens → buckets as in T5 (Raffel et al. 2020): one each for near ones, then by logarithm."""
    half = sizes.num_buckets // 2
    exact, away = half // 2, distance.abs()
    far = (away.float() / exact).log() / math.log(sizes.max_distance / exact) * (half - exact)
    far = (exact + far.clamp(min=0).long()).clamp(max=half - 1)
    return torch.where(away < exact, away, far) + half * (distance > 0)


RENAMED = {
    "patch_embedding": "patches",
    "layer_norm": "patch_norm",
    "post_extract_proj": "widen",
    "encoder.pos_conv.0": "position",
    "encoder.layer_norm": "norm",
    "encoder.layers.0.self_attn.relative_attention_bias": "buckets",
}
IN_A_BLOCK = {
    "self_attn_layer_norm": "attention_norm",
    "final_layer_norm": "out_norm",
    "self_attn.grep_linear": "attention.gates",
    "self_attn.grep_a": "attention.gate_scale",
}


def _renamed(model: Mapping[str, Any], depth: int, sizes: BeatsSizes, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint under our names; without blocks that are not used and the classifier of AudioSet."""
    found: dict[str, Tensor] = {}
    for name, tensor in model.items():
        block = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+?)(\.weight|\.bias)?", name)
        stem, dot, leaf = name.rpartition(".")
        if name.startswith("predictor.") or (block and depth <= int(block[1]) < sizes.encoder_layers):
            continue
        if block and block[2].endswith("relative_attention_bias"):  # one, and in the file once for each block
            if not torch.equal(tensor, model.get(f"encoder.layers.0.{block[2]}{block[3]}", tensor)):
                raise UserError(f"{path} is no {WHAT} that is known here: {name} is not that of the first block")
            found["buckets.weight"] = tensor
        elif block:
            own = IN_A_BLOCK.get(block[2], block[2].replace("self_attn.", "attention."))
            found[f"blocks.{block[1]}.{own}{block[3] or ''}"] = tensor
        else:
            found[RENAMED.get(stem, stem) + dot + leaf] = tensor
    if "position.weight_g" in found and "position.weight_v" in found:
        found["position.weight"] = _weighed(found.pop("position.weight_g"), found.pop("position.weight_v"))
    return found


def _weighed(length: Tensor, direction: Tensor) -> Tensor:
    """Weight normalisation (Salimans & Kingma 2016) along the last axis, computed once and for all."""
    return length * direction / direction.norm(dim=(0, 1), keepdim=True)
