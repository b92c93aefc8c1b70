"""A detector as ONNX: features, network, scorers and thresholds in one graph, checked against the detector on the spot.

Legend: T samples of one window, S scorers.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asd.detector.comparison import MAX_ERROR, Comparison, Scores, compare
from asd.detector.detector import build_network
from asd.detector.file import KIND, DetectorFile
from asd.detector.formats.base import Clips
from asd.detector.traced import TracedDetector
from asd.errors import UserError
from asd.files.atomic import naming
from asd.files.checksum import sha256_of
from asd.scorers import ScorerConfig
from asd.scorers.traced import untraceable
from asd.tasks.base import Task

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUTS = ("waveform", "machine")
OUTPUTS = ("scores", "thresholds", "decisions", "embedding", "logits")
MAX_BYTES = 2 << 30  # of one ONNX file
FORMAT_VERSION = 1  # of inputs, outputs and metadata


class Onnx:
    """For windows of the detector's length, written by torch's exporter, checked by onnxruntime."""

    suffix = ".onnx"

    def require(self, scorers: Sequence[ScorerConfig], weights: Mapping[str, Tensor]) -> None:
        if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
            raise UserError(f"--onnx needs {', '.join(missing)}: pip install {' '.join(missing)}")
        if lacking := [words for scorer in scorers for words in untraceable(scorer)]:
            raise UserError(f"ONNX cannot hold {', '.join(lacking)}: name the scorers that it shall hold by --scorer")

    def is_own(self, path: Path) -> bool:
        import onnx
        from google.protobuf.message import DecodeError

        try:
            model = onnx.load(path, load_external_data=False)
        except DecodeError:
            return False
        return any((entry.key, entry.value) == ("kind", KIND) for entry in model.metadata_props)

    def write(self, file: DetectorFile, source: Path, out: Path, clips: Clips) -> str:
        """The line says how far its scores are from the detector's."""
        task = build_network(file, source)
        partial = out.with_name(out.name + ".partial")
        try:
            with naming(out):
                write_model(file, task, source, partial)
            found = compare(file, task, clips.checked(), Session(partial))
            check(found, out)
            partial.rename(out)
        finally:
            partial.unlink(missing_ok=True)
        worst, label = found.worst()
        return (
            f"{out}: {out.stat().st_size / 2**20:.1f} MiB, windows of {window_of(file)} samples; checked on "
            f"{counted(found, clips.words)}: the same decisions, scores within {worst:.1e} of their spread ({label})"
        )


FORMAT = Onnx()


def window_of(file: DetectorFile) -> int:
    """Samples of a window."""
    return round(file.clip_s * file.sample_rate)


def counted(found: Comparison, words: str) -> str:
    """How many clips were compared."""
    windows = "" if len(found.own) == found.clips else f" ({len(found.own)} windows)"
    left_out = f"; {found.left_out} shorter than a window or without sound left out" if found.left_out else ""
    return f"{found.clips} {words}{windows}{left_out}"


def write_model(file: DetectorFile, task: Task, source: Path, path: Path) -> None:
    """Write the whole detector with what a reader must know as metadata. UserError where torch cannot."""
    detector = TracedDetector(file, task)
    held = sum(buffer.numel() * buffer.element_size() for buffer in detector.scorers.buffers())
    if held > MAX_BYTES:
        raise UserError(f"--onnx: the scorers hold {held / 2**30:.1f} GiB, an ONNX file 2: name fewer by --scorer")
    channels = () if file.reference_weight is None else (2,)
    given = (torch.zeros(1, *channels, window_of(file), dtype=torch.int16), torch.zeros(1, dtype=torch.int64))
    with torch.no_grad(), _quiet():
        names = OUTPUTS[: len(detector(*given))]
        try:
            program = torch.onnx.export(
                detector, given, input_names=INPUTS, output_names=names, dynamo=True, verbose=False,
                custom_translation_table=_translations(),
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(f"--onnx: torch cannot write this detector as ONNX ({reason[:200]})") from None
        assert program is not None
        program.model.metadata_props.update(metadata(file, source))
        program.save(path)


def metadata(file: DetectorFile, source: Path) -> dict[str, str]:
    """What stands in the model's metadata_props: see docs/files.md."""
    rules = [file.threshold_rules.get(own) for own in range(len(file.classes))]
    return {
        "kind": KIND,
        "format": str(FORMAT_VERSION),
        "sample_rate": str(file.sample_rate),
        "window_samples": str(window_of(file)),
        "channel": json.dumps(None if file.heard is None else file.heard.channel),
        "classes": json.dumps([[own.machine_type, own.machine_id] for own in file.classes]),
        "scorers": json.dumps([scorer.label for scorer in file.scorers]),
        "threshold_rules": json.dumps([rule and rule.model_dump(mode="json") for rule in rules]),
        "detector_sha256": sha256_of(source),
        "versions": json.dumps(file.provenance.exported.versions),
    }


def inputs_of(window: np.ndarray, own: int) -> dict[str, np.ndarray]:
    """What a written model is given: a window (T,) int16 as (1, T), of two microphones (T, 2) as (1, 2, T)."""
    return {"waveform": np.ascontiguousarray(window.T[None]), "machine": np.array([own])}


class Session:
    """A written model, run on one core."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, window: np.ndarray, own: int) -> Scores:
        """Scores and decisions (S,) of a window (T,) int16, of two microphones (T, 2)."""
        scores, decisions = self._session.run(["scores", "decisions"], inputs_of(window, own))
        return scores, decisions


def check(found: Comparison, out: Path) -> None:
    """UserError where a score or a decision is another one."""
    worst, label = found.worst()
    if not worst <= MAX_ERROR:
        raise UserError(
            f"{out}: a score of {label} differs from the detector's by {worst:.1e} of their spread, more than "
            f"{MAX_ERROR:g}: not kept"
        )
    if others := found.other_decisions():
        raise UserError(
            f"{out}: {others} of {len(found.own)} windows get another decision than by the detector: not kept"
        )


def _translations() -> dict[Any, Any]:
    """Of operations that torch's exporter does not know."""
    from onnxscript import opset18

    op: Any = opset18  # numbers are given in the place of tensors, which its stubs do not know

    def cdist(x1, x2, p: float, compute_mode: int | None = None):  # type: ignore[no-untyped-def]
        difference = op.Sub(op.Unsqueeze(x1, [-2]), op.Unsqueeze(x2, [-3]))
        return op.Sqrt(op.ReduceSum(op.Mul(difference, difference), [-1], keepdims=0))

    def fmin(a, b):  # type: ignore[no-untyped-def]
        return op.Where(op.IsNaN(a), b, op.Where(op.IsNaN(b), a, op.Min(a, b)))

    def median(x, dim: int, keepdim: bool = False):  # type: ignore[no-untyped-def]
        """The lower of the two middle ones, as torch's, and no index: nobody asks for it."""
        half = (x.shape[dim] + 1) // 2
        ascending, _ = op.TopK(x, op.Constant(value_ints=[half]), axis=dim, largest=0)
        value = op.Gather(ascending, op.Constant(value_int=half - 1), axis=dim)
        return value, value

    aten = torch.ops.aten
    return {aten._cdist_forward.default: cdist, aten.median.dim: median, torch.ops.prims.fmin.default: fmin}


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of packages that nobody needs here."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
