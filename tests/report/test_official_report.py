"""The report of score files of every year against scikit-learn and SciPy, its JSON and its table."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import hmean
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from asd.commands.report import report_score_files
from asd.dcase import read_submission
from asd.dcase.rules import official_numbers
from asd.report.official import closing_lines, official_table
from tests.support.official_files import ALL_LAYOUTS, MACHINES, Clip, Made, make, make_clips, write_scores

FROM_2022 = ("dcase2022", "dcase2023", "dcase2024", "dcase2025", "dcase2026")
OFFICIAL = {
    "dcase2021": ("auc_source", "auc_target", "pauc_source", "pauc_target"),
    **dict.fromkeys(FROM_2022, ("auc_source", "auc_target", "pauc")),
}


def roc(clips: list[Clip], max_fpr: float | None = None) -> float:
    return float(roc_auc_score([c.label for c in clips], [c.score for c in clips], max_fpr=max_fpr))


def rates(clips: list[Clip]) -> dict[str, float]:
    both = [c.label for c in clips], [c.decision for c in clips]
    return {"precision": precision_score(*both), "recall": recall_score(*both), "f1": f1_score(*both)}


def expected_section(made: Made, machine: str, section: str) -> dict[str, float]:
    """A section's numbers by the words of the task descriptions, from scikit-learn."""
    clips = made.of(machine, section)
    if made.layout == "dcase2020":
        return {"auc": roc(clips), "pauc": roc(clips, 0.1), **rates(clips)}
    numbers = {}
    for domain in ("source", "target"):
        own = made.of(machine, section, domain)
        numbers |= {f"{name}_{domain}": value for name, value in rates(own).items()}
        if made.layout == "dcase2021":
            numbers |= {f"auc_{domain}": roc(own), f"pauc_{domain}": roc(own, 0.1)}
        else:
            numbers[f"auc_{domain}"] = roc([c for c in clips if c.label == 1 or c.domain == domain])
    return numbers if made.layout == "dcase2021" else numbers | {"auc": roc(clips), "pauc": roc(clips, 0.1)}


def report_of(made: Made, tmp_path, capsys) -> tuple[dict[str, Any], str]:
    """The JSON and what was printed."""
    report_score_files(made.layout, made.scores, str(made.truth), tmp_path / "new folder" / "report.json")
    return json.loads((tmp_path / "new folder" / "report.json").read_text()), capsys.readouterr().out


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_number_of_every_year(tmp_path, capsys, layout, line_end):
    made = make(tmp_path, layout, seed=int(layout[-4:]), line_end=line_end)
    report, _ = report_of(made, tmp_path, capsys)
    expected = {m: {s: expected_section(made, m, s) for s in own} for m, own in MACHINES.items()}
    for machine, own in expected.items():
        for section, numbers in own.items():
            assert report["machines"][machine]["sections"][section] == pytest.approx(numbers, abs=1e-9)
    everything = [numbers for own in expected.values() for numbers in own.values()]
    if layout != "dcase2020":
        official = [numbers[name] for numbers in everything for name in OFFICIAL[layout]]
        assert report["official_score"] == pytest.approx(hmean(np.maximum(official, sys.float_info.epsilon)), abs=1e-9)
        for name in everything[0]:
            assert report["mean"][name] == pytest.approx(np.mean([n[name] for n in everything]), abs=1e-9)
            assert report["harmonic_mean"][name] == pytest.approx(hmean([n[name] for n in everything]), abs=1e-9)
    else:
        assert report["official_score"] is None
        for machine, own in expected.items():
            mean = np.mean([numbers["auc"] for numbers in own.values()])
            assert report["machines"][machine]["auc_mean"] == pytest.approx(mean, abs=1e-9)


RATES = {f"{rate}_{domain}" for rate in ("precision", "recall", "f1") for domain in ("source", "target")}
SECTION_KEYS = {
    "dcase2020": {"auc", "pauc", "precision", "recall", "f1"},
    "dcase2021": {"auc_source", "auc_target", "pauc_source", "pauc_target"} | RATES,
    **dict.fromkeys(FROM_2022, {"auc", "auc_source", "auc_target", "pauc"} | RATES),
}
TOGETHER = {f"{rate}_source_target" for rate in ("precision", "recall", "f1", "auc")}
MEAN_KEYS = {
    "dcase2020": SECTION_KEYS["dcase2020"],
    "dcase2021": SECTION_KEYS["dcase2021"] | TOGETHER | {"pauc_source_target"},
    **dict.fromkeys(FROM_2022, SECTION_KEYS["dcase2022"] | TOGETHER),
}
MACHINE_2020 = {"auc_mean", "pauc_mean", "auc_min", "auc_pooled", "pauc_pooled"}


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_the_json_has_exactly_these_fields(tmp_path, capsys, layout):
    report, _ = report_of(make(tmp_path, layout), tmp_path, capsys)
    of_2020 = layout == "dcase2020"
    assert set(report) == {"layout", "official_score", "mean", "harmonic_mean", "notes", "machines"}
    assert report["layout"] == layout
    assert report["notes"] == []
    assert set(report["mean"]) == MEAN_KEYS[layout] | ({"auc_min", "auc_pooled", "pauc_pooled"} if of_2020 else set())
    assert set(report["harmonic_mean"]) == MEAN_KEYS[layout]
    assert {machine: set(own["sections"]) for machine, own in report["machines"].items()} == {
        machine: set(sections) for machine, sections in MACHINES.items()
    }
    for own in report["machines"].values():
        assert set(own) == {"sections", "mean", "harmonic_mean"} | (MACHINE_2020 if of_2020 else set())
        assert set(own["mean"]) == set(own["harmonic_mean"]) == MEAN_KEYS[layout]
        for numbers in own["sections"].values():
            assert set(numbers) == SECTION_KEYS[layout]
            assert all(isinstance(value, float) for value in numbers.values())


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_the_table_has_a_row_a_section_and_the_means(tmp_path, capsys, layout):
    made = make(tmp_path, layout)
    report, said = report_of(made, tmp_path, capsys)
    rows = [line.split() for line in said.splitlines() if line.strip()]
    for machine, sections in MACHINES.items():
        for section in sections:
            own = report["machines"][machine]["sections"][section]
            row = next(r for r in rows if r[:2] == [machine, section])
            f1 = "f1" if layout == "dcase2020" else "f1_target"
            assert row[-1] == f"{100 * own[f1]:.2f}"
            first = "auc_source" if layout == "dcase2021" else "auc"
            assert row[2] == f"{100 * own[first]:.2f}"
        assert any(r[:2] == [machine, "mean"] for r in rows)
    assert any(r[:3] == ["all", "harmonic", "mean"] for r in rows)
    assert max(map(len, said.splitlines())) <= 80
    if layout == "dcase2020":
        assert "official score: none in 2020" in said
    else:
        assert f"official score: {100 * report['official_score']:.2f} % ({report['official_score']!r})" in said


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_without_decisions_f1_is_null_and_a_dash(tmp_path, capsys, layout):
    made = make(tmp_path, layout, decisions=False)
    report, said = report_of(made, tmp_path, capsys)
    numbers = report["machines"]["fan"]["sections"]["00"]
    assert {name for name, value in numbers.items() if value is None} == {
        name for name in SECTION_KEYS[layout] if name.startswith(("precision", "recall", "f1"))
    }
    assert next(line for line in said.splitlines() if line.startswith("fan") and " 00 " in line).split()[-1] == "–"
    assert "note: no decisions for any section: precision, recall and F1 are left out there" in said


def test_development_names(tmp_path, capsys):
    made = Made("dcase2023", tmp_path / "scores", tmp_path, make_clips("dcase2023", named_by_label=True))
    write_scores(made)
    report_score_files(made.layout, made.scores, "names", None)
    table = Console(width=80, file=io.StringIO())
    report = official_numbers(made.layout, read_submission(made.layout, made.scores, None).development)
    table.print(official_table(report))
    assert capsys.readouterr().out.startswith(table.file.getvalue() + closing_lines(report) + "\n")
    assert report.machines["fan"].sections["00"] == pytest.approx(expected_section(made, "fan", "00"), abs=1e-9)
    assert not (tmp_path / "names").exists()
