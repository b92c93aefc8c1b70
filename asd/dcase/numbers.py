"""Official numbers of a submission, as report.json and `eval.py report --json` hold them (schema: docs/files.md)."""

from __future__ import annotations

import pydantic

from asd.metrics.numbers import Numbers, Value


class OfficialMachine(Numbers, frozen=True):
    """A machine type: what the year's rule computes of each section, and both means over these. 2020: metrics, too."""

    mean: dict[str, Value]
    harmonic_mean: dict[str, Value]
    sections: dict[str, dict[str, Value]]


class OfficialNumbers(pydantic.BaseModel, frozen=True):
    """A whole submission; notes: sentences on what is missing."""

    layout: str
    official_score: Value
    mean: dict[str, Value]
    harmonic_mean: dict[str, Value]
    notes: list[str]
    machines: dict[str, OfficialMachine]


class OfficialReport(OfficialNumbers, frozen=True):
    """Those of the one half that there is; of two, `evaluation` is the evaluation half and the rest development."""

    evaluation: OfficialNumbers | None = None
