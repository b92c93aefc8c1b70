"""Small pre-trained encoders for tests: CREPE's real weights, and files as the authors of BEATs and EAT publish them,
with numbers that follow from their names."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from asd.backbones import CrepeConfig, build_backbone
from asd.backbones.blocks import scaled
from asd.backbones.encoders.base import EncoderSettings, PretrainedEncoder
from asd.backbones.encoders.efficientat import LAST, ROWS, STEM

TINY_CREPE = CrepeConfig().usual_weights()
DEPTH, WIDTH, HIDDEN, HEADS = 3, 16, 24, 2  # of both networks
BEATS_CFG = {
    "input_patch_size": 16, "embed_dim": 12, "conv_bias": False, "encoder_layers": DEPTH, "encoder_embed_dim": WIDTH,
    "encoder_ffn_embed_dim": HIDDEN, "encoder_attention_heads": HEADS, "activation_fn": "gelu",
    "layer_norm_first": False, "deep_norm": True, "dropout": 0.1, "conv_pos": 8, "conv_pos_groups": 4,
    "relative_position_embedding": True, "num_buckets": 32, "max_distance": 64, "gru_rel_pos": True,
    "finetuned_model": False,
}  # fmt: skip
EAT_CONFIG = {
    "model_type": "eat", "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "mlp_ratio": HIDDEN / WIDTH,
    "max_length": 80, "norm_eps": 1e-6, "img_size": [1024, 128],
}  # fmt: skip


def borrowing(config: EncoderSettings) -> PretrainedEncoder:
    """An encoder with the weights of its file, ready to embed."""
    known, borrowed = config.with_weights()
    found = build_backbone(known, 1, 1, borrowed)  # type: ignore[arg-type]
    assert isinstance(found, PretrainedEncoder)
    return found.eval()


def crepe(**settings: Any) -> PretrainedEncoder:
    return borrowing(CrepeConfig(**settings))


def crepe_tensors() -> dict[str, Tensor]:
    """What the file of the tiny CREPE holds."""
    return torch.load(TINY_CREPE, weights_only=True)


def changed_crepe(path: Path) -> Path:
    """The same but for one number, which no shape tells."""
    tensors = crepe_tensors()
    tensors["conv1.bias"][0] += 1
    torch.save(tensors, path)
    return path


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Normal numbers of deviation 0.4 for each of these names; the scales of normalisations lie around 1."""
    found = {}
    for name, shape in shapes.items():
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        around = 1.0 if re.search(r"norm\d?\.weight$", name) else 0.0
        found[name] = torch.from_numpy(np.random.default_rng(seed).normal(around, 0.4, shape).astype(np.float32))
    return found


def _linear(name: str, inner: int, outer: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outer, inner), f"{name}.bias": (outer,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def beats_tensors(depth: int = DEPTH) -> dict[str, Tensor]:
    """`model` of a BEATs checkpoint, by the names that it has there; depth: how many blocks."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (12, 1, 16, 16),
        **_norm("layer_norm", 12),
        **_linear("post_extract_proj", 12, WIDTH),
        "encoder.pos_conv.0.bias": (WIDTH,),
        "encoder.pos_conv.0.weight_g": (1, 1, 8),
        "encoder.pos_conv.0.weight_v": (WIDTH, 4, 8),
        **_norm("encoder.layer_norm", WIDTH),
    }
    for index in range(depth):
        block = f"encoder.layers.{index}"
        for kind in "kvq":
            shapes |= _linear(f"{block}.self_attn.{kind}_proj", WIDTH, WIDTH)
        shapes |= _linear(f"{block}.self_attn.out_proj", WIDTH, WIDTH)
        shapes |= _linear(f"{block}.self_attn.grep_linear", WIDTH // HEADS, 8)
        shapes |= _linear(f"{block}.fc1", WIDTH, HIDDEN) | _linear(f"{block}.fc2", HIDDEN, WIDTH)
        shapes |= _norm(f"{block}.self_attn_layer_norm", WIDTH) | _norm(f"{block}.final_layer_norm", WIDTH)
        shapes[f"{block}.self_attn.grep_a"] = (1, HEADS, 1, 1)
    tensors = drawn(shapes)
    buckets = drawn({"relative_attention_bias": (32, HEADS)})["relative_attention_bias"]
    shared = {f"encoder.layers.{i}.self_attn.relative_attention_bias.weight": buckets for i in range(depth)}
    return tensors | shared


def beats_file(folder: Path, tensors: dict[str, Tensor] | None = None, **cfg: Any) -> Path:
    """A small BEATs checkpoint; cfg: over the usual one."""
    path = folder / "beats.pt"
    sizes = BEATS_CFG | cfg
    torch.save({"cfg": sizes, "model": tensors or beats_tensors(sizes["encoder_layers"])}, path)
    return path


def eat_tensors() -> dict[str, Tensor]:
    """model.safetensors of an EAT, by the names that it has there, without the positions, which may be left out."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.local_encoder.proj.weight": (WIDTH, 1, 16, 16),
        "model.local_encoder.proj.bias": (WIDTH,),
        "model.extra_tokens": (1, 1, WIDTH),
        **_norm("model.pre_norm", WIDTH),
    }
    for index in range(DEPTH):
        block = f"model.blocks.{index}"
        shapes |= _linear(f"{block}.attn.qkv", WIDTH, 3 * WIDTH) | _linear(f"{block}.attn.proj", WIDTH, WIDTH)
        shapes |= _linear(f"{block}.mlp.fc1", WIDTH, HIDDEN) | _linear(f"{block}.mlp.fc2", HIDDEN, WIDTH)
        shapes |= _norm(f"{block}.norm1", WIDTH) | _norm(f"{block}.norm2", WIDTH)
    return drawn(shapes)


def eat_folder(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    """A small EAT as on the hub; config: over the usual one."""
    path = folder / "eat"
    path.mkdir(parents=True, exist_ok=True)
    save_file(tensors or eat_tensors(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(EAT_CONFIG | config), encoding="utf-8")
    return path


def efficientat_tensors(width: float = 0.1) -> dict[str, Tensor]:
    """A state dict of EfficientAT's MobileNetV3 with the classifier mlp, by the names that it has there."""
    inner, hidden = scaled(STEM, width), scaled(1280, width)
    stages = _convolution("features.0", 1, inner, 3)
    for number, row in enumerate(ROWS, 1):
        block, place = f"features.{number}.block", 0
        expanded, outer = scaled(row.expanded, width), scaled(row.out, width)
        if expanded != inner:
            stages |= _convolution(f"{block}.0", inner, expanded)
            place = 1
        stages |= _convolution(f"{block}.{place}", 1, expanded, row.kernel)
        if row.squeezes:
            place += 1
            squeezed, names = scaled(expanded // 4, 1.0), [f"{block}.{place}.conc_se_layers.0.fc{n}" for n in (1, 2)]
            stages |= _linear(names[0], expanded, squeezed) | _linear(names[1], squeezed, expanded)
        stages |= _convolution(f"{block}.{place + 1}", expanded, outer)
        inner = outer
    stages |= _convolution("features.16", inner, LAST * inner)
    stages |= _linear("classifier.2", LAST * inner, hidden) | _linear("classifier.5", hidden, 527)
    tensors = {name: tensor * 1.5 / fan_in(tensor) ** 0.5 for name, tensor in drawn(stages).items()}
    for name in [name for name in tensors if name.endswith(".1.weight")]:  # normalisations
        norm = name.removesuffix(".weight")
        tensors[name] = 1.0 + 0.2 * tensors[name]
        tensors[f"{norm}.running_var"] = 0.5 + tensors.pop(f"{norm}.running_var").abs()
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    return tensors


def fan_in(tensor: Tensor) -> int:
    """Values that each output of a layer of this weight sums over."""
    return tensor[0].numel() if tensor.dim() > 1 else 1


def _convolution(name: str, inner: int, outer: int, kernel: int = 1) -> dict[str, tuple[int, ...]]:
    """And its normalisation."""
    statistics: dict[str, tuple[int, ...]] = {f"{name}.1.running_{kind}": (outer,) for kind in ("mean", "var")}
    return {f"{name}.0.weight": (outer, inner, kernel, kernel), **_norm(f"{name}.1", outer), **statistics}


def efficientat_file(folder: Path, tensors: dict[str, Tensor] | None = None) -> Path:
    path = folder / "mn01_as.pt"
    torch.save(tensors or efficientat_tensors(), path)
    return path


def sound(samples: int, rows: int = 2) -> Tensor:
    """(rows, samples) of noise whose colour and level change with time, so that tokens differ."""
    rng, time = np.random.default_rng(samples), np.arange(samples) / 16_000
    tone = np.sin(2 * np.pi * (300 + 2500 * np.arange(rows)[:, None]) * time * (1 + time))
    noise = rng.normal(0, 0.05, (rows, samples)) * (1 + np.sin(9 * time))
    return torch.from_numpy((0.2 * tone + noise).astype(np.float32))


def check_adapters(network: PretrainedEncoder, clips: Tensor, adapted: int) -> None:
    """Of an encoder with LoRA in so many layers all that learns, and nothing else, has gradients and is saved; settled,
    it gives the same embeddings by that alone."""
    network.train()(clips).square().sum().backward()
    learning = [name for name, p in network.named_parameters() if p.requires_grad]
    assert len([name for name in learning if name.endswith("lora_b")]) == adapted
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    assert set(network.state_dict()) == set(learning)
    wanted, settled = network.eval()(clips), network.settle()
    with torch.device("meta"):
        alone = build_backbone(settled, 1, 1)  # type: ignore[arg-type]
    alone.load_state_dict(network.state_dict(), assign=True)
    assert torch.allclose(alone.eval()(clips), wanted, atol=1e-5)
