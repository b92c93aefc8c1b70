"""A bank for each domain: the nearer one counts, and that of the target domain grows by points between neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_scorers import fitted_scores

from asd.scorers import DomainKnnConfig, EmbeddingTable, KnnConfig, build_scorer
from asd.scorers.domain_knn import TARGET, grown
from tests.support.embedded import embedded_of

SOURCE = 1


def rows_of(domains: list[int], seed: int = 0, first: int = 0) -> EmbeddingTable:
    embedding = torch.randn(len(domains), 6, generator=torch.Generator().manual_seed(seed)) + 1
    return embedded_of(embedding, domain=torch.tensor(domains), clip_index=first + torch.arange(len(domains)))


TRAIN, TEST = rows_of([SOURCE] * 30 + [TARGET] * 4), rows_of([SOURCE, TARGET] * 5, 1, 100)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3])
def test_the_nearer_bank_counts(metric, k):
    train = rows_of([SOURCE, TARGET] * 12)
    banks = [train.select(train.domain == domain) for domain in (SOURCE, TARGET)]
    by_bank = [fitted_scores(KnnConfig(k=k, metric=metric), bank, TEST) for bank in banks]
    found = fitted_scores(DomainKnnConfig(k=k, metric=metric, smote=0), train, TEST)
    np.testing.assert_allclose(found, np.minimum(*by_bank), rtol=1e-12)
    assert 0 < (by_bank[1] < by_bank[0]).sum() < len(TEST)


@pytest.mark.parametrize("domains", [[SOURCE] * 9, [0] * 9, [TARGET] * 9])
def test_one_domain_alone_is_knn(domains):
    train = rows_of(domains)
    assert (fitted_scores(DomainKnnConfig(), train, TEST) == fitted_scores(KnnConfig(), train, TEST)).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_new_points_lie_between_a_row_and_one_of_its_two_nearest(metric):
    bank = TRAIN.select(TRAIN.domain == TARGET).join(rows_of([TARGET] * 3, 7, 50))
    made = grown(bank, 60, metric)
    rows = bank.embedding.double().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if metric == "cosine" else rows
    assert len(made) == 60
    assert made.select(torch.arange(len(bank))).embedding.equal(bank.embedding)
    distance = np.linalg.norm(rows[:, None] - rows, axis=2) + np.diag([np.inf] * len(rows))
    lines = [(a, b) for a in range(len(rows)) for b in np.argsort(distance[a])[:2]]
    used = set()
    for point in made.embedding[len(bank) :].double().numpy():
        shares = [np.dot(point - rows[a], rows[b] - rows[a]) / distance[a, b] ** 2 for a, b in lines]
        off = [
            np.linalg.norm(rows[a] + s * (rows[b] - rows[a]) - point) for (a, b), s in zip(lines, shares, strict=True)
        ]
        best = int(np.argmin(off))
        assert off[best] < 1e-6
        assert -1e-6 <= shares[best] <= 1 + 1e-6
        used.add(lines[best])
    assert len(used) > len(rows)  # several neighbours of several rows
    assert grown(bank, 60, metric).embedding.equal(made.embedding)


def test_the_target_bank_grows_to_a_share_of_the_other():
    train = rows_of([SOURCE] * 100 + [TARGET] * 3)
    scorer = build_scorer(DomainKnnConfig(smote=0.2))
    scorer.fit(train)
    assert [len(bank) for bank in scorer.models[0]] == [100, 20]
    assert (scorer.score(TEST) <= fitted_scores(DomainKnnConfig(smote=0), train, TEST) + 1e-6).all()


@pytest.mark.parametrize(("target", "left"), [(1, 1), (2, 20), (30, 30)])
def test_one_target_clip_has_no_neighbour_and_many_need_none(target, left):
    scorer = build_scorer(DomainKnnConfig())
    scorer.fit(rows_of([SOURCE] * 100 + [TARGET] * target))
    assert len(scorer.models[0][1]) == left
    assert np.isfinite(scorer.score(TEST)).all()


def test_names_tell_settings_apart():
    configs = [DomainKnnConfig(), DomainKnnConfig(k=2), DomainKnnConfig(metric="euclidean", smote=0)]
    assert [c.label for c in configs] == ["domain_knn", "domain_knn_k2", "domain_knn_euclidean_smote0"]
