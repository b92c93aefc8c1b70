"""The same ONNX with the network's weights and activations in 8 bits: what that costs is measured on the spot.

Quantised by onnxruntime (static, QDQ, weights per channel) on normal sound. Features, scorers and thresholds
stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import Tensor

from asd.detector.comparison import Comparison, compare
from asd.detector.detector import build_network
from asd.detector.file import DetectorFile
from asd.detector.formats.base import Clip, Clips
from asd.detector.formats.onnx import FORMAT as ONNX
from asd.detector.formats.onnx import Session, counted, inputs_of, write_model
from asd.errors import UserError
from asd.files.atomic import naming
from asd.scorers import ScorerConfig

KINDS = ("Conv", "Gemm", "MatMul")  # of nodes whose weights are stored in 8 bits
MIN_WEIGHTS = 256  # of a node that is worth it
NO_WEIGHTS = "--onnx-int8: this detector's network has no weights to store in 8 bits: take --onnx"
PREFIX = "task."  # of the network's weights in a graph


class OnnxInt8:
    """For processors where memory or arithmetic is short."""

    suffix = ".onnx"

    def require(self, scorers: Sequence[ScorerConfig], weights: Mapping[str, Tensor]) -> None:
        ONNX.require(scorers, weights)
        if not any(x.ndim > 1 and x.numel() >= MIN_WEIGHTS and _is_of_network(name) for name, x in weights.items()):
            raise UserError(NO_WEIGHTS)

    def is_own(self, path: Path) -> bool:
        return ONNX.is_own(path)

    def write(self, file: DetectorFile, source: Path, out: Path, clips: Clips) -> str:
        """The line says what 8 bits cost: the mean AUC of the first scorer with and without, and other decisions."""
        task = build_network(file, source)
        with naming(out), TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
            whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
            write_model(file, task, source, whole)
            _quantise(whole, small, clips)
            found = compare(file, task, clips.checked(), Session(small))
            before = whole.stat().st_size
            small.rename(out)
        return (
            f"{out}: {out.stat().st_size / 2**20:.1f} MiB ({before / 2**20:.1f} in 32 bits); {cost(found, clips.words)}"
        )


FORMAT = OnnxInt8()


def cost(found: Comparison, words: str) -> str:
    """What was lost, in words."""
    others = f"{found.other_decisions()} of {len(found.own)} windows are decided otherwise"
    aucs = found.mean_aucs()
    if aucs is None:
        return f"{others} ({counted(found, words)}; no AUC without normal and anomalous ones of a machine)"
    both = f"AUC {100 * aucs[1]:.2f} % ({100 * aucs[0]:.2f} in 32 bits, {found.labels[0]})"
    return f"{both}, {others} ({counted(found, words)})"


def _quantise(whole: Path, small: Path, clips: Clips) -> None:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    nodes = learnt_nodes(onnx.load(whole))
    if not nodes:
        raise UserError(NO_WEIGHTS)
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises steps that were measured to change nothing here
    try:
        quantize_static(
            whole, small, _Reader(clips.normal()), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_quantize=nodes,
        )  # fmt: skip
    finally:
        logging.disable(former)


def learnt_nodes(model: Any) -> list[str]:
    """Names of the nodes that multiply by weights of the network."""
    learnt = {
        tensor.name
        for tensor in model.graph.initializer
        if np.prod(tensor.dims) >= MIN_WEIGHTS
        and tensor.name.startswith(PREFIX)
        and _is_of_network(tensor.name.removeprefix(PREFIX))
    }
    return [node.name for node in model.graph.node if node.op_type in KINDS and learnt & set(node.input)]


def _is_of_network(name: str) -> bool:
    """Rather than of its frontend, whose filters stay as they are."""
    return "frontend" not in name.split(".")


class _Reader:
    """Windows one by one, as onnxruntime's calibration asks for them."""

    def __init__(self, clips: Iterator[Clip]) -> None:
        self._given = (inputs_of(window, clip.own) for clip in clips for window in clip.windows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._given, None)
