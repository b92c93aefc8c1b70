"""The multi-branch network beside the public code that it follows, ASDKit: the same weights, numbers and speed.

python -m benchmarks.speed --parts asdkit --asdkit FOLDER

FOLDER is a checkout of github.com/TakuyaFujimura/dcase-asd-toolkit (compared: commit ed27d82f). Its network and loss
alone are run, not its trainer; hydra and peft, which it imports for other parts, need not be installed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asd.backbones import MultiBranchConfig, build_backbone
from asd.errors import UserError
from asd.losses import SubClusterAdaCosConfig, build_loss
from benchmarks.speed.measure import interleaved, ratios, spread
from benchmarks.speed.part import Goal, Part, Table
from benchmarks.speed.step_costs import median_s

RATE, SECONDS, CLIPS, CLASSES = 16_000, 10, 8, 41
BRANCHES = {"three STFTs": (256, 1024, 4096), "one STFT": (1024,)}
CPU = torch.device("cpu")
MAX_DIFFERENCE = 1e-5  # of embeddings and losses, in float32


def run(args: argparse.Namespace) -> Part | None:
    """Training and evaluation of both; None where there is no checkout."""
    if args.asdkit is None:
        print("asdkit: skipped, --asdkit names a checkout of github.com/TakuyaFujimura/dcase-asd-toolkit")
        return None
    _open(args.asdkit)
    rows, goals, differences = [], [], []
    for name, n_fft in BRANCHES.items():
        ours, theirs = _pair(n_fft)
        waveform = 0.1 * torch.randn(CLIPS, RATE * SECONDS, generator=torch.Generator().manual_seed(0))
        differences.append(_difference(ours, theirs, waveform))
        for what, step in (("training step", _training), ("embedding", _embedding)):
            sides = {"ASDKit": partial(_clips_per_s, step, theirs, waveform)}
            found = interleaved({**sides, "ours": partial(_clips_per_s, step, ours, waveform)}, args.rounds)
            ratio = ratios(found["ours"], found["ASDKit"])
            rows.append([f"{name}, {what}", spread(found["ASDKit"], 1), spread(found["ours"], 1), spread(ratio, 2)])
            goals.append(Goal(f"ours / ASDKit, {name}, {what}", ratio, 1.0))
    title = (
        f"The whole clip's spectrum and STFTs, {CLIPS} clips of {SECONDS} s, {CLASSES} classes, float32, clips/s. With "
        f"the same weights embeddings and losses differ by {max(differences):.1e} at most."
    )
    return Part([Table(title, ["network", "ASDKit", "ours", "ours / ASDKit"], rows)], goals)


Pair = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], list[nn.Module]]  # embed, loss of embeddings, both


def _open(folder: Path) -> None:
    if not (folder / "asdkit" / "models" / "multiresnet").is_dir():
        raise UserError(
            f"--asdkit {folder}: it holds no asdkit/models/multiresnet: name a checkout of dcase-asd-toolkit"
        )
    sys.path.insert(0, str(folder))
    hydra, utils = types.ModuleType("hydra"), types.ModuleType("hydra.utils")
    utils.instantiate = _instantiate  # type: ignore[attr-defined]
    stand_ins = {"hydra": hydra, "hydra.utils": utils, "peft": types.ModuleType("peft")}
    sys.modules.update({name: module for name, module in stand_ins.items() if name not in sys.modules})


def _instantiate(config: dict[str, Any]) -> Any:
    """What hydra makes of `_target_` and settings."""
    module, _, name = config["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**{k: v for k, v in config.items() if k != "_target_"})


def _pair(n_fft: tuple[int, ...]) -> tuple[Pair, Pair]:
    """Ours and ASDKit's with the weights of the latter."""
    networks = importlib.import_module("asdkit.models.multiresnet.multiresnet")
    losses = importlib.import_module("asdkit.losses.scadacos")
    layers = "asdkit.models.multiresnet.{}_encoder_networks.{}EncoderLayer"
    stft = {"sr": RATE, "power": 1.0, "f_min": 200.0, "f_max": 8000.0}
    torch.manual_seed(0)
    theirs = networks.MultiResNet(
        sec=SECONDS,
        sr=RATE,
        use_fft=True,
        stft_cfg_list=[{**stft, "n_fft": n, "hop_length": n // 2} for n in n_fft],
        fft_network_cfg={"tgt_class": layers.format("fft", "Conv1d")},
        stft_network_cfg={"tgt_class": layers.format("stft", "Conv2d")},
    )
    their_loss = losses.SCAdaCos(theirs.embed_size, CLASSES, 16, trainable=True, dynamic=False)
    ours = build_backbone(MultiBranchConfig(n_fft=n_fft, fft_samples=RATE * SECONDS), 1, 1)
    loss = build_loss(SubClusterAdaCosConfig(), theirs.embed_size, CLASSES)
    with torch.no_grad():
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            own.copy_(other)
        next(loss.parameters()).copy_(their_loss.W.T)
    ours = ours.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    first, second, weight = torch.arange(CLIPS) % CLASSES, torch.arange(CLIPS).flip(0), torch.linspace(0, 1, CLIPS)
    share = nn.functional.one_hot(torch.stack([first, second]), CLASSES).float()
    soft = weight[:, None] * share[0] + (1 - weight[:, None]) * share[1]
    return (
        (lambda x: ours(x[:, None, None]), lambda e: loss(e, first, second, weight).mean(), [ours, loss]),
        (theirs, lambda e: their_loss(e, soft), [theirs, their_loss]),
    )


@torch.no_grad()
def _difference(ours: Pair, theirs: Pair, waveform: Tensor) -> float:
    """The largest of embeddings and losses; UserError where these are two networks.

    In evaluation, with the running statistics of one batch: the statistics of eight clips would amplify rounding.
    """
    embeddings = []
    for embed, _, modules in (ours, theirs):
        embed(waveform)
        for module in modules:
            module.eval()
        embeddings.append(embed(waveform))
    losses = [pair[1](embedding) for pair, embedding in zip((ours, theirs), embeddings, strict=True)]
    found = max(float((a - b).abs().max()) for a, b in (embeddings, losses))
    if not found < MAX_DIFFERENCE:
        raise UserError(f"ours and ASDKit's differ by {found:.1e} with the same weights: is it commit ed27d82f?")
    return found


def _training(pair: Pair, waveform: Tensor) -> None:
    embed, loss, modules = pair
    for module in modules:
        module.train().zero_grad()
    loss(embed(waveform)).backward()


@torch.no_grad()
def _embedding(pair: Pair, waveform: Tensor) -> None:
    embed, _, modules = pair
    for module in modules:
        module.eval()
    embed(waveform)


def _clips_per_s(step: Callable[[Pair, Tensor], None], pair: Pair, waveform: Tensor) -> float:
    return CLIPS / median_s(partial(step, pair, waveform), CPU, 1)
