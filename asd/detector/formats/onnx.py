"""The network of a detector as ONNX, checked against torch on the spot. Legend: B = 1, T samples of one window."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from asd.data.batch import Batch
from asd.detector.detector import build_network
from asd.detector.file import DetectorFile
from asd.errors import UserError
from asd.tasks.base import Task

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MAX_ERROR = 1e-3  # of the largest number in the embedding
INPUT = "waveform"


class Embed(nn.Module):
    """(1, T) int16 → embedding (1, P, D), and logits (1, P, C) where the network tells classes apart."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        none = torch.zeros(len(waveform), dtype=torch.int64)
        out = self.task.embed(Batch(waveform, none, none, none, none, none == 0, 0, 0, 0))
        return (out.embedding, out.logits) if out.logits.shape[-1] else (out.embedding,)


class Onnx:
    """For windows of the detector's length, with torch's exporter, checked by onnxruntime."""

    def require(self) -> None:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(f"--onnx needs {', '.join(missing)}: pip install {' '.join(missing)}")

    def write(self, file: DetectorFile, source: Path, out: Path) -> str:
        """The line says how far its embedding is from torch's."""
        network = Embed(build_network(file, source))
        generator = torch.Generator().manual_seed(0)
        samples = round(file.clip_s * file.sample_rate)
        waveform = torch.randint(-8000, 8000, (1, samples), generator=generator, dtype=torch.int16)
        partial = out.with_name(out.name + ".partial")
        try:
            _export(network, waveform, partial)
            difference, largest = _compare(network, waveform, partial)
            if not difference <= MAX_ERROR * largest:
                raise UserError(
                    f"{out}: its embeddings differ from torch's by {difference:.2g} of {largest:.2g}: not kept"
                )
            partial.rename(out)
        finally:
            partial.unlink(missing_ok=True)
        return (
            f"{out}: {INPUT} (1, {samples}) int16; its embedding differs from torch's by {difference:.1e} of "
            f"{largest:.2g}"
        )


FORMAT = Onnx()


def _export(network: Embed, waveform: Tensor, path: Path) -> None:
    with torch.no_grad(), _quiet():
        names = ["embedding", "logits"][: len(network(waveform))]
        try:
            program = torch.onnx.export(
                network, (waveform,), input_names=[INPUT], output_names=names, dynamo=True, verbose=False
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(f"--onnx: torch cannot write this network as ONNX ({reason[:200]})") from None
        assert program is not None
        program.save(path)


def _compare(network: Embed, waveform: Tensor, path: Path) -> tuple[float, float]:
    """The largest difference of embeddings, and the largest number in them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = network(waveform)[0].numpy()
    found = session.run(["embedding"], {INPUT: waveform.numpy()})[0]
    return float(np.abs(found - wanted).max()), float(np.abs(wanted).max())


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
