"""When and how checkpoints are scored."""

from __future__ import annotations

from typing import Annotated

import pydantic

from asd.evaluate.embed import Average
from asd.evaluate.history import Selection
from asd.files.paths import user_path_text
from asd.metrics.thresholds import GammaConfig, ThresholdConfig
from asd.scorers import CentroidConfig, KnnConfig, ScorerConfig, SoftmaxConfig, UntrainedKnnConfig, scorer_label
from asd.train.cadence import Every

DEFAULT_SCORERS: tuple[ScorerConfig, ...] = (
    SoftmaxConfig(),
    CentroidConfig(),
    KnnConfig(),
    UntrainedKnnConfig(),
    UntrainedKnnConfig(level="normalised"),
)
REFERENCE_WEIGHT = 0.5  # of UTurtle/residual_view, chosen there on the development set of 2026


class EvaluateConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """When and how checkpoints are scored, and which of them is the best one."""

    every_epochs: pydantic.PositiveInt = 2  # between evaluations; the last step is always evaluated
    every_steps: pydantic.PositiveInt | None = None  # instead of every_epochs
    by_watcher: bool = False  # training only saves; `python eval.py watch` scores, in a process of its own
    max_unscored: int = pydantic.Field(default=10, ge=3)  # evaluations that wait for scores; of more the oldest go
    scorers: tuple[ScorerConfig, ...] = DEFAULT_SCORERS  # the first is the primary one
    select: Selection = "clean"  # oracle: by the year's numbers on labelled development clips, and every report says so
    fit_clips_per_class: pydantic.PositiveInt | None = None  # of each domain, that scorers are fitted on; None: all
    fit_held_out: bool = False  # scorers are fitted on held-out clips, too
    test_clips_per_class: pydantic.PositiveInt | None = None  # (and held-out ones) by domain, for a look; None: all
    average: Average = "scores"  # of a clip's windows: their scores, or already their embeddings
    # of a set packed with two microphones, what the reference's embedding counts: near − reference_weight·reference; 0:
    # the near one alone is heard
    reference_weight: float = pydantic.Field(default=REFERENCE_WEIGHT, ge=0, le=10)
    flip: tuple[str, ...] = ()  # classes (fan/00) whose scores are inverted, as in one submission of S5
    threshold: ThresholdConfig = GammaConfig()  # of normal clips' scores, above which a clip is called an anomaly
    first_s: float | None = pydantic.Field(default=None, ge=0.05, le=600)  # score the start of clips; None: all of them
    batch_audio_s: pydantic.PositiveFloat = 640.0  # seconds of audio in one batch
    # folder that keeps the embeddings of a network that is not trained, for other scorers and for export; null: none
    cache_dir: Annotated[str, pydantic.AfterValidator(user_path_text)] | None = None

    @pydantic.field_validator("scorers")
    @classmethod
    def _told_apart(cls, scorers: tuple[ScorerConfig, ...]) -> tuple[ScorerConfig, ...]:
        if not scorers:
            raise ValueError("name at least one scorer, such as [{name: softmax}]")
        labels = [scorer_label(scorer) for scorer in scorers]
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"two scorers would be called {twice}")
        return scorers

    def every(self, steps_per_epoch: int, last: int) -> Every:
        """Which steps are evaluated."""
        return Every(self.every_steps or self.every_epochs * steps_per_epoch, last)
