"""DCASE Task 2 score files in the organisers' formats: reading with ground truth, and writing."""

from asd.score_files.reading import read_sections
from asd.score_files.writing import write_submission

__all__ = ["read_sections", "write_submission"]
