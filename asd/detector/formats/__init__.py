"""Formats that a detector is exported in for other programs: one file each, an option of eval.py export."""

from __future__ import annotations

from importlib import import_module

from asd.detector.formats.base import Format


def load_format(name: str) -> Format:
    """What the file of that name here writes; - is _ in its name."""
    found: Format = import_module(f"asd.detector.formats.{name.replace('-', '_')}").FORMAT
    return found
