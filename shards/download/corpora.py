"""Which record of Zenodo holds which part of DCASE Task 2, year by year; what is in it the record itself says."""

from __future__ import annotations

from collections.abc import Sequence

from asd.errors import UserError

GROUND_TRUTH = "ground-truth"
RECORDINGS = ("dev", "additional", "eval")  # also the order in which they are fetched and packed
PARTS = (*RECORDINGS, GROUND_TRUTH)

RECORDS: dict[str, dict[str, int]] = {
    "dcase2020": {"dev": 3678171, "additional": 3727685, "eval": 3841772, GROUND_TRUTH: 3951620},
    "dcase2021": {"dev": 4562016, "additional": 4660992, "eval": 4884786, GROUND_TRUTH: 5257674},
    "dcase2022": {"dev": 6355122, "additional": 6462969, "eval": 6586456},
    "dcase2023": {"dev": 7882613, "additional": 7830345, "eval": 7860847},
    "dcase2024": {"dev": 10902294, "additional": 11259435, "eval": 11363076},
    "dcase2025": {"dev": 15097779, "additional": 15392814, "eval": 15519362},
    "dcase2026": {"dev": 19336329, "additional": 20151556, "eval": 20437238},
}

NO_GROUND_TRUTH = "it has no record on Zenodo: later than 2021 it comes with the official evaluator of the year"


def records_of(corpus: str, parts: Sequence[str]) -> dict[str, int]:
    """Part → record; no parts means all recordings there are. Raises UserError for a part that has no record."""
    records = RECORDS[corpus]
    if GROUND_TRUTH in parts and GROUND_TRUTH not in records:
        raise UserError(f"{corpus} has no --part {GROUND_TRUTH}: {NO_GROUND_TRUTH}; there are {', '.join(records)}")
    return {part: records[part] for part in PARTS if part in (parts or RECORDINGS)}
