"""A trained detector in one file, without its training data, and scoring recordings with it."""

from __future__ import annotations

from asd.detector.detector import Detector, build_network
from asd.detector.file import DetectorFile, FittedScorer, Provenance, Software, read_detector, write_detector

__all__ = [
    "Detector",
    "DetectorFile",
    "FittedScorer",
    "Provenance",
    "Software",
    "build_network",
    "read_detector",
    "write_detector",
]
