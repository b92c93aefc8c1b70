"""A core set covers what it is chosen from."""

from __future__ import annotations

import itertools

import torch

from asd.scorers.core_set import k_centre, standardised


def radius(rows: torch.Tensor, chosen: torch.Tensor) -> float:
    return float(torch.cdist(rows, rows[chosen]).amin(1).max())


def test_each_group_has_one_of_its_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(5).repeat(20)
    rows = 100.0 * torch.eye(5, dtype=torch.float64)[group] + torch.rand(100, 5, generator=generator).double()
    assert sorted(group[k_centre(rows, 5)].tolist()) == [0, 1, 2, 3, 4]


def test_it_is_at_most_twice_as_far_as_the_best_choice() -> None:
    for seed in range(10):
        rows = torch.randn(12, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        best = min(radius(rows, torch.tensor(few)) for few in itertools.combinations(range(12), 3))
        chosen = k_centre(rows, 3)
        assert len(chosen) == 3
        assert radius(rows, chosen) <= 2 * best


def test_rows_that_come_first_are_among_them() -> None:
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    first = torch.tensor([3, 17, 30])
    chosen = k_centre(rows, 6, first)
    assert len(chosen) == 6
    assert {3, 17, 30} < set(chosen.tolist())
    assert k_centre(rows, 2, first).tolist() == [17, 30]
    assert k_centre(rows, 6, first[:0]).equal(k_centre(rows, 6))


def test_few_rows_are_all_kept_and_equal_ones_once() -> None:
    assert k_centre(torch.randn(3, 2), 5).tolist() == [0, 1, 2]
    assert k_centre(torch.ones(9, 2), 5).tolist() == [0]


def test_columns_count_alike_whatever_their_unit() -> None:
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    a, b = (standardised(rows * torch.tensor(unit) + 7.0) for unit in ([1.0, 1.0, 0.0], [1000.0, 0.01, 0.0]))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert not a[:, 2].any()
    torch.testing.assert_close(a.square().sum(1).mean(), torch.tensor(2 / 3, dtype=torch.float64))
