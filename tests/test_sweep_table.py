"""The year's official numbers in the table of a sweep."""

from __future__ import annotations

from typing import Any

from asd.sweep_table import markdown


def numbers(official: dict[str, Any] | None) -> dict[str, Any]:
    own = dict.fromkeys(("auc", "pauc", "auc_oracle"), 0.7) | {
        f"{key}_sd": None for key in ("auc", "pauc", "auc_oracle")
    }
    return {"seeds": 1, **own, "types": {"fan": 0.7}, "official": official}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_official_numbers_stand_before_the_types() -> None:
    parts = {"auc_source": 0.8, "score": 0.6543}
    official: dict[str, Any] = {}
    for key, value in parts.items():
        official |= {key: value, f"{key}_sd": None, f"{key}_by_seed": [value]}
    head, _, row, other = markdown({"a": {"knn": numbers(official), "lof": numbers(None)}}).splitlines()[:4]
    assert cells(head)[5:] == ["AUC, oracle", "official auc source", "official score", "fan"]
    assert cells(row)[6:8] == ["80.00", "65.43"]
    assert cells(other)[6:8] == ["–", "–"]


def test_a_year_without_an_official_score_has_no_such_columns() -> None:
    head = markdown({"a": {"knn": numbers(None)}}).splitlines()[0]
    assert cells(head)[5:] == ["AUC, oracle", "fan"]
