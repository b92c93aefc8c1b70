"""A detector in other formats, such as ONNX, beside its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from asd.detector import DetectorFile
from asd.detector.formats import load_format
from asd.detector.formats.base import Clips
from asd.errors import UserError
from asd.files.paths import check_writable
from asd.scorers import ScorerConfig

Others = Mapping[str, Path]  # name of a format → file to write


def check_others(
    others: Others, detector: Path, scorers: Sequence[ScorerConfig], weights: Mapping[str, Tensor]
) -> None:
    """Refuse, before any work, what cannot be written, or would take the place of another file.

    weights: of the network, by name.
    """
    if len({path.resolve() for path in others.values()}) < len(others):
        raise UserError(f"{', '.join(f'--{name}' for name in others)}: name a file for each, not one for all")
    for name, path in others.items():
        format_ = load_format(name)
        is_taken = path.resolve() == detector.resolve() or path.is_dir()
        if path.suffix != format_.suffix or is_taken or not path.parent.is_dir():
            raise UserError(f"--{name} {path}: name a file that ends in {format_.suffix}, in a folder that exists")
        check_writable(f"--{name} {path}", path.parent)
        format_.require(scorers, weights)
        if path.exists() and not format_.is_own(path):
            raise UserError(f"--{name} {path} is another file than a detector in this format: name a new one")


def write_others(others: Others, file: DetectorFile, detector: Path, clips: Clips) -> list[str]:
    """Write a detector, read from that path, in every format; a line that tells of each."""
    return [load_format(name).write(file, detector, path, clips) for name, path in others.items()]
