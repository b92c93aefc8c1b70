"""report.json as it is written and read (schema: docs/files.md): the numbers of an evaluation, and what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import pydantic

from asd.dcase.headline import Headline, headline
from asd.dcase.numbers import OfficialNumbers
from asd.metrics.detections import Detections
from asd.metrics.summary import ClipCounts, NotScored, ScorerNumbers
from asd.metrics.thresholds import Threshold

FORMAT_VERSION: Literal[2] = 2  # 2: warnings have codes; numbers by the year's rule, of the development half alone


class ReportWarning(pydantic.BaseModel, frozen=True):
    """A warning for a person; programs read its code."""

    code: str
    text: str


class Validation(pydantic.BaseModel, extra="forbid", frozen=True):
    """Of held-out normal clips: no mixing, no smoothing (ClassificationLoss.held_out). None where there is none."""

    loss: float | None
    accuracy: float | None
    clips: int

    def scalars(self) -> dict[str, float]:
        """What there is to show."""
        return {f"validation/{key}": value for key, value in self.model_dump().items() if value is not None}


class Choice(pydantic.BaseModel, frozen=True):
    """How the checkpoint (of an ensemble: the runs) was chosen, and whether by the clips that are scored."""

    rule: str
    oracle: bool


class EnsembleRuns(pydantic.BaseModel, frozen=True):
    """What an ensemble is made of: machine type → the runs that were combined; k: how many (`topk`)."""

    method: str
    runs: dict[str, list[str]]
    k: int | None = None


class BetterScorer(pydantic.BaseModel, frozen=True):
    """A scorer that beats the primary one by the year's rule; export: the command that makes its detector."""

    scorer: str
    quality: float
    primary_quality: float
    export: str | None


class Half(pydantic.BaseModel, frozen=True):
    """The numbers of the development half of a DCASE set, of the evaluation half, or of a set that has no halves."""

    test: ClipCounts
    not_scored: list[NotScored]
    scorers: dict[str, ScorerNumbers]
    official: dict[str, OfficialNumbers | None] = {}
    decisions: Detections | None = None

    def headline(self, layout: str, scorer: str) -> Headline:
        """A scorer's numbers by the year's rule."""
        official = self.official.get(scorer)
        return headline(layout, self.scorers[scorer].types, official.machines if official else {})


class Header(pydantic.BaseModel, extra="forbid", frozen=True):
    """What is known of an evaluation before its numbers; a field that is not known is not given."""

    format: Literal[1, 2] = FORMAT_VERSION
    run: str = ""
    run_folder: str = ""  # as the command was given it
    step: int | None = None
    epoch: float | None = None
    checkpoint: str | None = None
    shards: str | None = None
    fingerprint: str | None = None
    machine_types: tuple[str, ...] = ()
    machine_ids: tuple[str, ...] = ()
    flip: tuple[str, ...] = ()  # classes whose scores are inverted
    validation: Validation | None = None
    fit_clips: int | None = None
    unreadable_clips: int = 0
    logit_scale: float | None = None
    embed_s: float | None = None
    layout: str = ""
    classes: int | None = None
    selection: Choice | None = None
    primary: str = ""
    baselines: list[str] = []
    ensemble: EnsembleRuns | None = None
    notes: list[str] = []  # what else a reader of the scores must know
    warnings: list[ReportWarning] = []
    thresholds: dict[str, Threshold] = {}  # by fan/00

    @pydantic.field_validator("warnings", mode="before")
    @classmethod
    def _coded(cls, warnings: Any) -> Any:
        """Those of format 1 were sentences."""
        return [{"code": "older", "text": own} if isinstance(own, str) else own for own in warnings]


class Report(Half, Header, extra="ignore", frozen=True):
    """All of report.json: of the development half, where both halves have labels, and `evaluation` of the other one."""

    evaluation: Half | None = None
    better: BetterScorer | None = None

    @property
    def halves(self) -> Mapping[str, Half]:
        """Title of a half → its numbers; one without a title where there is one."""
        return {"": self} if self.evaluation is None else {"Dev": self, "Eval": self.evaluation}

    @property
    def is_oracle(self) -> bool:
        """Whether the checkpoint was chosen on the clips that are scored."""
        return self.selection is not None and self.selection.oracle

    @property
    def scorer_order(self) -> list[str]:
        """Scorer names as tables show them: the primary, the other trained ones, the untrained baselines."""
        baselines = [name for name in self.scorers if name in self.baselines]
        trained = [name for name in self.scorers if name not in baselines]
        return sorted(trained, key=lambda name: name != self.primary) + baselines

    @property
    def primary_headline(self) -> Headline:
        """The numbers of the primary scorer by the year's rule."""
        return self.headline(self.layout, self.primary)


def json_text(numbers: pydantic.BaseModel) -> str:
    """The text of a JSON file of numbers: with all their digits, without the fields that were not given."""
    tree = numbers.model_dump(mode="json", exclude_unset=True)
    return json.dumps(tree, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
