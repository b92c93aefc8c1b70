"""Forms of a detector's network for other programs, looked up by the ending of a file's name."""

from __future__ import annotations

from asd.detector.formats.base import Format
from asd.detector.formats.onnx import Onnx

FORMATS: dict[str, Format] = {".onnx": Onnx()}
