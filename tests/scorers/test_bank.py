"""Banks of many rows: searched in parts with the same outcome, and cut to a core set at a bounded cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from asd.metrics import auc
from asd.scorers import (
    BandKnnConfig,
    DomainKnnConfig,
    EmbeddingTable,
    KnnConfig,
    LocalKnnConfig,
    LofConfig,
    ScorerConfig,
    UntrainedKnnConfig,
    build_scorer,
    distance,
    learnt,
    scorer_label,
)
from asd.scorers.core_set import core_set, k_centre
from asd.scorers.distance import Rows, metric_space, neighbours
from tests.support.embedded import embedded_of
from tests.support.scored import fitted_scores

ROWS, KEPT = 900, 200
EVERY: list[ScorerConfig] = [
    KnnConfig(),
    KnnConfig(k=4, metric="euclidean"),
    LocalKnnConfig(k=2),
    LocalKnnConfig(normalisation="difference", cluster_exit=90),
    DomainKnnConfig(k=2, density="mean", nearer="z_score"),
    DomainKnnConfig(metric="euclidean", mem_mixup=2),
    LofConfig(k=7),
    UntrainedKnnConfig(),
]


def blobs(rows: int, seed: int, first: int = 0, away: float = 0.0) -> EmbeddingTable:
    """Clips around eight places, from which `away` leads."""
    random = torch.Generator().manual_seed(seed)
    place = 4.0 * torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    embedding = place[torch.randint(8, (rows,), generator=random)] + torch.randn(rows, 6, generator=random) + away
    clips = first + torch.arange(rows)
    return embedded_of(embedding, clip_index=clips, features=10 * embedding, domain=1 + (clips % 9 == 0).long())


TRAIN, NORMAL, FAULTS = blobs(ROWS, 1), blobs(300, 2, ROWS), blobs(300, 3, 2 * ROWS, away=2.0)


def scores(config: ScorerConfig, test: EmbeddingTable, **settings: Any) -> np.ndarray:
    return fitted_scores(config.model_copy(update=settings), TRAIN, test)


@pytest.mark.parametrize("config", EVERY, ids=scorer_label)
def test_a_search_in_parts_finds_the_same(config: ScorerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    train = TRAIN.join(TRAIN.select(torch.arange(50)))  # windows of some clips: neighbours at one distance
    at_once = fitted_scores(config, train, train.join(NORMAL))
    monkeypatch.setattr(distance, "_WHOLE", 10)
    monkeypatch.setattr(distance, "_PART", 64)
    np.testing.assert_allclose(fitted_scores(config, train, train.join(NORMAL)), at_once, rtol=1e-9)


def test_neighbours_of_a_part_are_named_by_their_place_in_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance, "_WHOLE", 10)
    monkeypatch.setattr(distance, "_PART", 64)
    bank, query = (metric_space(clips.embedding, "euclidean") for clips in (TRAIN, NORMAL))
    values, places = neighbours(Rows(query, NORMAL.recording), Rows(bank, TRAIN.recording), 5, "euclidean")
    expected = torch.cdist(query, bank).sort(dim=1)
    assert places.equal(expected.indices[:, :5])
    torch.testing.assert_close(values, expected.values[:, :5])


def test_spectra_are_looked_up_in_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = learnt.nearest_spectrum(NORMAL.features, TRAIN.features)
    monkeypatch.setattr(learnt, "_WHOLE", 10)
    monkeypatch.setattr(learnt, "_PART", 64)
    assert found.equal(learnt.nearest_spectrum(NORMAL.features, TRAIN.features))
    assert found.equal(torch.cdist(NORMAL.features.double(), TRAIN.features.double()).argmin(1))


@pytest.mark.parametrize("k", [1, 4])
def test_the_radius_is_the_distance_from_which_all_rows_have_k_kept_ones(k: int) -> None:
    rows = TRAIN.embedding.double()
    chosen, radius = core_set(rows, KEPT, k)
    assert len(chosen) == KEPT and chosen.equal(chosen.unique())
    found = torch.cdist(rows, rows[chosen]).sort(dim=1).values
    assert radius == pytest.approx(float(found[:, k - 1].max()), rel=1e-6)
    if k == 1:  # as near as always the one farthest row
        greedy = torch.cdist(rows, rows[k_centre(rows, KEPT)]).amin(1).max()
        assert radius <= 1.1 * float(greedy)


def test_equal_rows_are_chosen_once_and_small_banks_whole() -> None:
    rows = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chosen, radius = core_set(rows.repeat(5, 1), 100)
    assert len(chosen) == 40 and radius < 1e-6
    assert core_set(torch.ones(9, 2, dtype=torch.float64), 5)[0].tolist() == [0]


@pytest.mark.parametrize(
    "config",
    [KnnConfig(metric="euclidean"), KnnConfig(k=4, metric="euclidean"), KnnConfig(), UntrainedKnnConfig(),
     BandKnnConfig(), DomainKnnConfig(metric="euclidean", smote=0)],
    ids=scorer_label,
)  # fmt: skip
def test_a_new_clip_scores_as_with_all_rows_or_at_most_the_radius_more(config: ScorerConfig) -> None:
    test = NORMAL.join(FAULTS)
    whole, cut = (scores(config, test, bank=bank) for bank in (ROWS, KEPT))
    column = TRAIN.features if isinstance(config, UntrainedKnnConfig) else TRAIN.embedding
    cosine = getattr(config, "metric", "") == "cosine"
    if cosine:
        whole, cut = np.sqrt(2 * whole), np.sqrt(2 * cut)
    parts = [TRAIN.domain == 2, TRAIN.domain != 2] if isinstance(config, DomainKnnConfig) else [TRAIN.domain > 0]
    rows = [metric_space(column[part], "cosine" if cosine else "euclidean") for part in parts]
    radius = max(core_set(own, KEPT, getattr(config, "k", 1))[1] for own in rows if len(own) > KEPT)
    more = cut - whole
    assert more.min() > -1e-6 and more.max() <= radius + 1e-6
    assert more.max() > 0, "the bank is not cut at all"


@pytest.mark.parametrize("config", [*EVERY, BandKnnConfig()], ids=scorer_label)
def test_a_cut_bank_tells_faults_from_normal_clips_almost_as_well(config: ScorerConfig) -> None:
    labels = np.repeat([0, 1], 300)
    whole, cut = (auc(labels, scores(config, NORMAL.join(FAULTS), bank=bank)) for bank in (ROWS, KEPT))
    assert whole > 0.7
    assert cut > whole - 0.1


def test_a_bank_up_to_its_size_is_kept_as_it_is() -> None:
    for config in EVERY:
        assert np.array_equal(scores(config, NORMAL), scores(config, NORMAL, bank=ROWS)), scorer_label(config)


def test_what_is_left_out_is_said_with_the_radius(caplog: pytest.LogCaptureFixture) -> None:
    config = KnnConfig(k=4, bank=KEPT)
    assert scorer_label(config) == "knn_k4_bank200"
    with caplog.at_level("INFO"):
        build_scorer(config).fit(TRAIN)
    radius = core_set(metric_space(TRAIN.embedding, "cosine"), KEPT, 4)[1]
    (said,) = [record.message for record in caplog.records]
    assert said.startswith("knn_k4: of 900 training rows of class 0 200 are kept (bank), 4 of them within ")
    assert said.endswith(f" within {radius:.4g} of every other")
