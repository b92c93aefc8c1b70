"""The year's official numbers in the table of a sweep."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from asd.sweep_table import console_table, markdown


def numbers(official: dict[str, Any] | None) -> dict[str, Any]:
    own = dict.fromkeys(("auc", "pauc", "auc_oracle"), 0.7) | {
        f"{key}_sd": None for key in ("auc", "pauc", "auc_oracle")
    }
    return {"seeds": 1, **own, "types": {"fan": 0.7}, "official": official}


def official_numbers(**parts: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in parts.items():
        found |= {key: value, f"{key}_sd": None, f"{key}_by_seed": [value]}
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_official_numbers_stand_before_the_types() -> None:
    official = official_numbers(auc_source=0.8, score=0.6543)
    head, _, row, other = markdown({"a": {"knn": numbers(official), "lof": numbers(None)}}).splitlines()[:4]
    assert cells(head)[5:] == ["AUC, oracle", "official auc source", "official score", "fan"]
    assert cells(row)[6:8] == ["80.00", "65.43"]
    assert cells(other)[6:8] == ["–", "–"]


def test_a_year_without_an_official_score_has_no_such_columns() -> None:
    head = markdown({"a": {"knn": numbers(None)}}).splitlines()[0]
    assert cells(head)[5:] == ["AUC, oracle", "fan"]


def test_a_terminal_of_80_columns_shows_names_and_numbers_whole() -> None:
    official = official_numbers(auc_source=0.8, auc_target=0.7, pauc=0.6, score=0.6543)
    many = numbers(official) | {"auc_sd": 0.0123, "pauc_sd": 0.0123, "auc_oracle_sd": 0.0123}
    console = Console(width=80)
    with console.capture() as capture:
        console.print(console_table({"tastgram_noisy_arcmix_waveform": {"mahalanobis": many}}))
    text = capture.get()
    assert "tastgram_noisy_arcmix_waveform" in "".join(text.split())
    assert "  mahalanobis" in text and "…" not in text
    assert text.count("70.00 ± 1.23") == 3 and "65.43" in text
