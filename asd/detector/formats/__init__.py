"""Export formats of a detector's network: one file each, an option of eval.py export."""

from __future__ import annotations

from importlib import import_module

from asd.detector.formats.base import Format


def load_format(name: str) -> Format:
    """What the file of that name here writes."""
    found: Format = import_module(f"asd.detector.formats.{name}").FORMAT
    return found
