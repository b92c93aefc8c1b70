"""Scorers as modules in which the class is an input: the same scores, whatever the sizes of the classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from asd.errors import UserError
from asd.scorers import (
    BandKnnConfig,
    CentroidConfig,
    DomainKnnConfig,
    EmbeddingTable,
    FaultHeadConfig,
    FusedConfig,
    KnnConfig,
    LofConfig,
    LogOddsConfig,
    MahalanobisConfig,
    MatchedFilterConfig,
    PcaResidualConfig,
    ReconstructionConfig,
    ScorerConfig,
    SelectiveMahalanobisConfig,
    SoftmaxConfig,
    UntrainedKnnConfig,
    build_scorer,
    scorer_label,
)
from asd.scorers.members import MEMBERS
from asd.scorers.traced import NOWHERE, traced, untraceable
from tests.support.scored import CONFIGS, NUM_CLASSES, TEST, TRAIN

MORE: list[ScorerConfig] = [
    BandKnnConfig(),
    CentroidConfig(),
    DomainKnnConfig(),
    FaultHeadConfig(),
    FusedConfig(),
    FusedConfig(by="max", members=(KnnConfig(k=3), MahalanobisConfig(space="raw")), trained=(CentroidConfig(),)),
    KnnConfig(k=40, metric="euclidean"),
    LogOddsConfig(),
    FusedConfig(faults=(MatchedFilterConfig(),), trained=(KnnConfig(k=2),)),
    MahalanobisConfig(per="domain"),
    MatchedFilterConfig(),
    PcaResidualConfig(),
    ReconstructionConfig(summary="std"),
    SelectiveMahalanobisConfig(),
    SoftmaxConfig(),
    UntrainedKnnConfig(level="normalised"),
]
TRACEABLE = [config for config in (*CONFIGS, *MORE) if not untraceable(config)]


def alone(clips: EmbeddingTable, row: int) -> EmbeddingTable:
    """One clip, as the module gets it."""
    nowhere = torch.tensor([NOWHERE])
    return replace(clips.select(torch.tensor([row])), clip_index=nowhere, recording=nowhere)


def uneven(train: EmbeddingTable) -> EmbeddingTable:
    """The same with four clips of the last class, and of its first two domains one and three."""
    last = (train.class_index == NUM_CLASSES - 1).nonzero().flatten()
    kept = torch.cat([(train.class_index < NUM_CLASSES - 1).nonzero().flatten(), last[:4]])
    few = train.select(kept)
    domain = torch.where((few.class_index == 0) & (torch.arange(len(few)) % 3 == 0), 2, 1)
    return replace(few, domain=domain)


def test_every_scorer_is_tried():
    assert {config.name for config in (*CONFIGS, *MORE)} == {*MEMBERS, "fused"}


FAULTS = replace(TRAIN, known_faults=TEST.select(TEST.class_index == 1))


@pytest.mark.parametrize("train", [TRAIN, uneven(TRAIN), FAULTS], ids=["even", "uneven", "faults"])
@pytest.mark.parametrize("config", TRACEABLE, ids=scorer_label)
def test_scores_are_those_of_the_scorer(config: ScorerConfig, train: EmbeddingTable):
    scorer = build_scorer(config)
    scorer.fit(train)
    module, wanted = traced(config, scorer, NUM_CLASSES), scorer.score(TEST)
    found = [float(module(clip, clip.class_index)[0]) for clip in (alone(TEST, row) for row in range(len(TEST)))]
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.std())


def test_what_cannot_be_traced_is_named():
    assert untraceable(LofConfig(k=5)) == ["lof_k5 (how many neighbours count depends on the class)"]
    fused = FusedConfig(members=(KnnConfig(), LofConfig()))
    assert untraceable(fused) == ["fused (how many neighbours count depends on the class)"]
    assert [name for name, kind in MEMBERS.items() if kind.why_untraceable] == ["lof"]  # type: ignore[attr-defined]


def test_a_class_without_clips_is_named():
    config = KnnConfig()
    scorer = build_scorer(config)
    scorer.fit(TRAIN.select(TRAIN.class_index != 1))
    with pytest.raises(UserError, match="scorer knn knows no clip of class 1"):
        traced(config, scorer, NUM_CLASSES)


def test_models_that_are_not_alike_are_refused():
    """A bank of equal clips has no density, which the others have."""
    config = DomainKnnConfig(density="mean")
    equal = TRAIN.class_index == 1
    train = replace(TRAIN, embedding=torch.where(equal[:, None], 1.0, TRAIN.embedding))
    scorer = build_scorer(config)
    scorer.fit(train)
    with pytest.raises(UserError, match="ONNX cannot hold domain_knn_mean: one machine's model has parts"):
        traced(config, scorer, NUM_CLASSES)
