"""DCASE Task 2 score files in the organisers' formats: reading with ground truth, and writing."""

from asd.dcase.reading import Submission, read_submission
from asd.dcase.submission import write_submission

__all__ = ["Submission", "read_submission", "write_submission"]
