"""Which test clips are of the development half and which of the evaluation half."""

from __future__ import annotations

import numpy as np
import pytest

from asd.dcase.halves import carries_label, half_rows
from asd.metrics import ClipScores


@pytest.mark.parametrize(
    ("layout", "name", "named"),
    [
        ("dcase2020", "normal_id_00_00000012.wav", True),
        ("dcase2020", "anomaly_id_00_00000012.wav", True),
        ("dcase2020", "id_01_00000012.wav", False),
        ("dcase2021", "section_00_source_test_normal_0012.wav", True),
        ("dcase2021", "section_03_source_test_0012.wav", False),
        ("dcase2023", "section_00_target_test_anomaly_0012_vel_0.1.wav", True),
        ("dcase2023", "section_00_0012.wav", False),
        ("dcase2026", "section_00_0012.wav", False),
        ("table", "recorded today.wav", True),
        ("mimii", "00000012.wav", True),
    ],
)
def test_names_that_carry_a_label(layout: str, name: str, named: bool) -> None:
    assert carries_label(layout, name) is named


def clips_of(names: list[str], label: list[int]) -> ClipScores:
    count = len(names)
    return ClipScores(names, names, ["fan"] * count, ["00"] * count, [""] * count, np.array(label), {})


NAMES = ["normal_id_00_00000000.wav", "id_01_00000000.wav", "anomaly_id_00_00000001.wav", "id_01_00000001.wav"]


def test_both_halves_where_both_have_labels() -> None:
    found = half_rows("dcase2020", clips_of(NAMES, [0, 0, 1, 1]))
    assert {half: rows.tolist() for half, rows in found.items()} == {"development": [0, 2], "evaluation": [1, 3]}


@pytest.mark.parametrize("label", [[0, -1, 1, -1], [-1, 0, -1, 1], [-1] * 4])
def test_one_half_where_only_one_has_labels(label: list[int]) -> None:
    assert [rows.tolist() for rows in half_rows("dcase2020", clips_of(NAMES, label)).values()] == [[0, 1, 2, 3]]
    assert list(half_rows("table", clips_of(NAMES, [0, 0, 1, 1]))) == ["development"]
