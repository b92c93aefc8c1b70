"""A bank for each domain: the nearer one counts, as distances are, by density or on the banks' scales; that of the
target domain grows by points between neighbours, or by mixtures with source clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asd.scorers import DomainKnnConfig, EmbeddingTable, KnnConfig, LocalKnnConfig, build_scorer
from asd.scorers.domain_knn import TARGET
from asd.scorers.growing import mem_mixup, smote
from asd.scorers.state import restored, state_of
from tests.support.embedded import embedded_of
from tests.support.scored import fitted_scores

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
    made = smote(bank.embedding, 60, metric)
    rows = bank.embedding.double().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if metric == "cosine" else rows
    assert len(made.embedding) == 60 - len(bank)
    distance = np.linalg.norm(rows[:, None] - rows, axis=2) + np.diag([np.inf] * len(rows))
    lines = [(a, b) for a in range(len(rows)) for b in np.argsort(distance[a])[:2]]
    used = set()
    for point, origin in zip(made.embedding.double().numpy(), made.origin.tolist(), strict=True):
        shares = [np.dot(point - rows[a], rows[b] - rows[a]) / distance[a, b] ** 2 for a, b in lines]
        off = [
            np.linalg.norm(rows[a] + s * (rows[b] - rows[a]) - point) for (a, b), s in zip(lines, shares, strict=True)
        ]
        best = int(np.argmin(off))
        assert off[best] < 1e-6
        assert -1e-6 <= shares[best] <= 1 + 1e-6
        assert origin in lines[best]
        used.add(lines[best])
    assert len(used) > len(rows)  # several neighbours of several rows
    assert smote(bank.embedding, 60, metric).embedding.equal(made.embedding)


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


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 4, 99])
def test_mixtures_are_of_a_target_clip_and_its_nearest_source_clips(metric, k):
    source, target = (TRAIN.select(TRAIN.domain == domain).embedding.double().numpy() for domain in (SOURCE, TARGET))
    if metric == "cosine":
        source, target = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (source, target))
    expected = []
    for own in target:
        nearest = np.argsort(np.linalg.norm(source - own, axis=1))[:k]
        expected += [0.9 * own + 0.1 * source[other] for other in nearest]
    scorer = build_scorer(DomainKnnConfig(metric=metric, mem_mixup=k))
    scorer.fit(TRAIN)
    bank = scorer.models[0][1]
    assert len(bank) == len(target) * (1 + min(k, len(source)))
    np.testing.assert_allclose(bank.embedding[len(target) :], expected, atol=1e-6)
    made = mem_mixup(TRAIN.embedding[:3], TRAIN.embedding[3:], k, metric)
    assert made.origin.unique(return_counts=True)[1].tolist() == [min(k, len(TRAIN) - 3)] * 3


def nearest_relative(rows: EmbeddingTable, bank: EmbeddingTable, density: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(rows.embedding.double().numpy()[:, None] - bank.embedding.double().numpy(), axis=2)
    distance[rows.clip_index.numpy()[:, None] == bank.clip_index.numpy()] = np.inf
    return (distance / density).min(1)


def density_of(bank: EmbeddingTable, k: int, summary: str) -> np.ndarray:
    rows = bank.embedding.double().numpy()
    distance = np.linalg.norm(rows[:, None] - rows, axis=2) + np.diag([np.inf] * len(rows))
    return getattr(np.sort(distance, axis=1)[:, :k], summary)(1)


@pytest.mark.parametrize("summary", ["mean", "sum"])
@pytest.mark.parametrize("nearer", ["distance", "z_score"])
def test_densities_and_scales_are_those_of_a_domain(summary, nearer):
    """The target clips lie ten times as far apart as the others, and are clearly nearer where that is counted in."""
    train = rows_of([SOURCE] * 30 + [TARGET] * 6)
    wide = torch.where(train.domain == TARGET, 10.0, 1.0)[:, None]
    train = embedded_of(train.embedding * wide, domain=train.domain, clip_index=train.clip_index)
    config = DomainKnnConfig(
        metric="euclidean", smote=0, density=summary, density_k=5, target_density_k=2, nearer=nearer
    )
    found = []
    for domain, k in ((SOURCE, 5), (TARGET, 2)):
        bank = train.select(train.domain == domain)
        density = density_of(bank, k, summary)
        own = nearest_relative(bank, bank, density)
        centre, spread = (own.mean(), own.std(ddof=1)) if nearer == "z_score" else (0, 1)
        found.append((nearest_relative(TEST, bank, density) - centre) / spread)
    np.testing.assert_allclose(fitted_scores(config, train, TEST), np.minimum(*found), rtol=1e-9)
    plain = DomainKnnConfig(metric="euclidean", smote=0)
    assert (fitted_scores(config, train, TEST).argsort() != fitted_scores(plain, train, TEST).argsort()).any()


def test_a_new_point_has_the_density_of_its_clip():
    scorer = build_scorer(DomainKnnConfig(mem_mixup=5, density="mean"))
    scorer.fit(TRAIN)
    bank = scorer.models[0][1]
    assert bank.density[4:].equal(bank.density[:4].repeat_interleave(5))
    assert len(bank.density.unique()) > 1


def test_one_domain_alone_by_density_is_local_knn():
    train = rows_of([SOURCE] * 20)
    found = fitted_scores(DomainKnnConfig(density="mean", density_k=4), train, TEST)
    assert (found == fitted_scores(LocalKnnConfig(density_k=4), train, TEST)).all()


@pytest.mark.parametrize("nearer", ["distance", "z_score"])
@pytest.mark.parametrize("domains", [[SOURCE] * 9 + [TARGET], [SOURCE, TARGET], [TARGET]])
def test_a_bank_of_one_clip_takes_the_scale_of_the_other(domains, nearer):
    scorer = build_scorer(DomainKnnConfig(density="mean", nearer=nearer))
    scorer.fit(rows_of(domains))
    banks = scorer.models[0]
    assert np.isfinite(scorer.score(TEST)).all()
    if len(domains) == 10:
        assert float(banks[1].density) == pytest.approx(float(banks[0].density.mean()))
        assert (banks[1].centre, banks[1].spread) == (banks[0].centre, banks[0].spread)


@pytest.mark.parametrize("config", [DomainKnnConfig(), DomainKnnConfig(density="sum", mem_mixup=2, nearer="z_score")])
def test_a_state_says_the_same_also_one_of_banks_without_scale(config):
    scorer = build_scorer(config)
    scorer.fit(TRAIN)
    state = state_of(config, scorer)
    assert (restored(config, state).score(TEST) == scorer.score(TEST)).all()
    if config == DomainKnnConfig():  # as detectors of the version before had it
        former = {own: [{k: v for k, v in bank.items() if k not in ("density", "centre", "spread")} for bank in banks]
                  for own, banks in state.items()}  # fmt: skip
        assert (restored(config, former).score(TEST) == scorer.score(TEST)).all()


def test_settings_of_a_density_need_one():
    with pytest.raises(ValueError, match="give density, mean or sum"):
        DomainKnnConfig(cluster_exit=95)


def test_names_tell_settings_apart():
    configs = [DomainKnnConfig(), DomainKnnConfig(k=2), DomainKnnConfig(metric="euclidean", smote=0)]
    assert [c.label for c in configs] == ["domain_knn", "domain_knn_k2", "domain_knn_euclidean_smote0"]
