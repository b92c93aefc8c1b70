"""The interface of an export format."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from asd.detector.file import DetectorFile


class Format(Protocol):
    """Writes the network of a detector for another program."""

    def require(self) -> None:
        """UserError where a package is missing that writes or checks it; asked before any work."""

    def write(self, file: DetectorFile, source: Path, out: Path) -> str:
        """Write the network of a detector, read from `source`, to `out`, whole or not at all; a line that tells of it.

        UserError where it cannot be written, or gives other numbers than torch does.
        """
