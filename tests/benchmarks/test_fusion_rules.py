"""The study of fusion in small: every rule for every pool, beside the members alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import fusion_rules
from benchmarks.results.fusion_rules import BACK_ENDS, RULES, main

NORMAL = np.random.default_rng(0).normal(size=(60, 8))
TEST = np.random.default_rng(1).normal(size=(5, 8))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_of_each_clip_by_itself_and_grows_with_what_all_members_say(rule: str) -> None:
    found = RULES[rule](NORMAL, TEST)
    assert found.shape == (5,)
    np.testing.assert_allclose(RULES[rule](NORMAL, TEST[2:3]), found[2:3], rtol=1e-9)
    assert (RULES[rule](NORMAL, TEST + 1) > found).all()


def test_the_table_has_them_all(
    small_set: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {end: BACK_ENDS[end] for end in ("knn", "pca_residual")}
    pools = {"two": (tuple(few), True), "two, level removed": (tuple(few), False)}
    monkeypatch.setattr(fusion_rules, "BACK_ENDS", few)
    monkeypatch.setattr(fusion_rules, "POOLS", pools)
    main([str(small_set), "--members"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    numbers = {name: float(value) for name, value in rows[2:]}
    assert {f"{pool}: {rule}" for pool in pools for rule in RULES} <= set(numbers)
    members = [value for name, value in numbers.items() if name.split(" ")[0] in few and ":" not in name]
    assert len(members) == 16 * len(few)
    assert max(members) == numbers["best member"]
    assert all(0 <= value <= 100 for value in numbers.values())
