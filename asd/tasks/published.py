"""The weights that the authors of TASTgram-MFN (S2) publish, under the names of this project.

Their public code (github.com/soonhyeon/Noisy-ArcMix) saves the network's state dict: 166 tensors, one to one with those
of `configs/tastgram_noisy_arcmix_paper.yaml` but for a layer of 128 → 41 values that nothing reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

# The rows of its class centres, in this order: not ours, which sorts capitals first.
CLASSES = tuple(
    f"{machine}/{number:02}"
    for machine, first, last in (
        ("fan", 0, 6), ("pump", 0, 6), ("slider", 0, 6), ("ToyCar", 1, 7), ("ToyConveyor", 1, 6), ("valve", 0, 6)
    )
    for number in range(first, last + 1)
)  # fmt: skip
CENTRES = "arcface.weight"
MARK = "tgramnet.conv_extrctor.weight"  # by which the file is known
BLOCKS = 6  # bottlenecks, between two convolutions before and one behind
LAYERS = {"conv": 0, "bn": 1, "prelu": 2}
PLACES = {"conv1": "body.0", "dw_conv1": "body.1", "conv2": f"body.{2 + BLOCKS}", "linear7": "over_maps"}


def is_tastgram(tensors: Mapping[str, object]) -> bool:
    """Whether the names are those of the published code, saved from DDP or not."""
    return MARK in tensors or f"module.{MARK}" in tensors


def tastgram_weights(tensors: Mapping[str, Tensor], classes: Sequence[str]) -> tuple[dict[str, Tensor], list[str]]:
    """(the tensors under our names, what has no place here); classes: those of the set, such as fan/00, in order.

    A class centre is found by the name of its class; where the published network lacks one of the classes, its centres
    have no place.
    """
    found, left = {}, []
    for name, tensor in tensors.items():
        bare = name.removeprefix("module.")
        if bare == CENTRES and len(tensor) == len(CLASSES) and set(classes) <= set(CLASSES):
            found["loss.centres"] = tensor[torch.tensor([CLASSES.index(own) for own in classes])]
        elif (ours := _renamed(bare)) is None:
            left.append(bare)
        else:
            found[ours] = (
                tensor.flatten(1) if ours.endswith("project.weight") else tensor
            )  # a 1x1 convolution of theirs
    return found, left


def _renamed(name: str) -> str | None:
    """Our name of a tensor of theirs; None where there is none."""
    if match := re.fullmatch(r"tgramnet\.conv_extrctor\.(\w+)", name):
        return f"encoder.frontend.tgram.filters.{match[1]}"
    if match := re.fullmatch(r"tgramnet\.conv_encoder\.(\d)\.(\d\.\w+)", name):
        return f"encoder.frontend.tgram.layers.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"mobilefacenet\.blocks\.(\d+)\.conv\.(\d)\.(\w+)", name):
        block, layer = int(match[1]), int(match[2])  # convolution, normalisation, PReLU by turns
        return f"encoder.backbone.body.{2 + block}.layers.{layer // 3}.{layer % 3}.{match[3]}"
    if match := re.fullmatch(r"mobilefacenet\.linear1\.(conv|bn)\.(\w+)", name):
        return f"encoder.backbone.{'project' if match[1] == 'conv' else 'norm'}.{match[2]}"
    match = re.fullmatch(r"mobilefacenet\.(\w+)\.(conv|bn|prelu)\.(\w+)", name)
    if match is None or match[1] not in PLACES:
        return None
    return f"encoder.backbone.{PLACES[match[1]]}.{LAYERS[match[2]]}.{match[3]}"
