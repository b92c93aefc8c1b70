"""The yearly rules against scikit-learn and SciPy, and what happens where a number cannot be computed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import hmean
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from asd.dcase.rules import LAYOUTS, SectionClips, detection_rates, official_numbers, rule_of
from asd.errors import UserError
from asd.metrics.decisions import NO_DECISION
from asd.report.model import json_text

EPS = float(np.finfo(np.float64).eps)


def section(seed: int, n: int = 60, decided: bool = True) -> SectionClips:
    random = np.random.default_rng(seed)
    label, domain = random.integers(0, 2, n), np.array(["source", "target"])[random.integers(0, 2, n)]
    score = np.round(random.normal(size=n) + label, 1)
    decision = (score > 0.5).astype(int) if decided else np.full(n, NO_DECISION)
    return SectionClips(label, score, domain, decision)


def test_rates_equal_scikit_learns():
    random = np.random.default_rng(0)
    label, decision = random.integers(0, 2, 50), random.integers(0, 2, 50)
    expected = precision_recall_fscore_support(label, decision, average="binary")[:3]
    assert list(detection_rates(label, decision).values()) == pytest.approx(list(expected), abs=1e-12)
    assert list(detection_rates(label, decision)) == ["precision", "recall", "f1"]


@pytest.mark.parametrize(
    ("labels", "decisions", "expected"),
    [
        ([1, 0], [0, 0], [0.0, 0.0, 0.0]),
        ([0, 0], [1, 0], [0.0, 0.0, 0.0]),
        ([1, 1], [1, 0], [1.0, 0.5, 2 / 3]),
    ],
)
def test_rates_of_nothing_are_zero(labels, decisions, expected):
    assert list(detection_rates(labels, decisions).values()) == pytest.approx(expected)


@pytest.mark.parametrize(("labels", "decisions"), [([], []), ([0, 1], [0, NO_DECISION])])
def test_rates_without_decisions_are_unknown(labels, decisions):
    assert all(math.isnan(value) for value in detection_rates(labels, decisions).values())


@pytest.mark.parametrize("layout", ["dcase2022", "dcase2023", "dcase2024", "dcase2025", "dcase2026"])
def test_a_domains_normals_meet_all_anomalies(layout):
    clips = section(3)
    numbers = rule_of(layout).numbers(clips)
    for domain in ("source", "target"):
        met = (clips.domain == domain) | (clips.label == 1)
        own = clips.domain == domain
        assert numbers[f"auc_{domain}"] == pytest.approx(roc_auc_score(clips.label[met], clips.score[met]), abs=1e-12)
        expected = precision_recall_fscore_support(clips.label[own], clips.decision[own], average="binary")[:3]
        rates = [numbers[f"{rate}_{domain}"] for rate in ("precision", "recall", "f1")]
        assert rates == pytest.approx(list(expected), abs=1e-12)
    assert numbers["auc"] == pytest.approx(roc_auc_score(clips.label, clips.score), abs=1e-12)
    assert numbers["pauc"] == pytest.approx(roc_auc_score(clips.label, clips.score, max_fpr=0.1), abs=1e-12)


def test_2021_keeps_the_domains_apart():
    clips = section(4)
    numbers = rule_of("dcase2021").numbers(clips)
    for domain in ("source", "target"):
        own = clips.domain == domain
        ranked = clips.label[own], clips.score[own]
        assert numbers[f"auc_{domain}"] == pytest.approx(roc_auc_score(*ranked), abs=1e-12)
        assert numbers[f"pauc_{domain}"] == pytest.approx(roc_auc_score(*ranked, max_fpr=0.1), abs=1e-12)


@pytest.mark.parametrize(
    ("layout", "parts"),
    [
        ("dcase2021", ["auc_source", "auc_target", "pauc_source", "pauc_target"]),
        ("dcase2023", ["auc_source", "auc_target", "pauc"]),
    ],
)
def test_official_score_is_the_harmonic_mean_of_its_parts(layout, parts):
    machines = {"fan": {"00": section(1), "01": section(2)}, "valve": {"00": section(3)}}
    summary = official_numbers(layout, machines)
    values = [own.sections[s][p] for own in summary.machines.values() for s in own.sections for p in parts]
    assert summary.official_score == pytest.approx(hmean(values), abs=1e-12)
    assert len(values) == 3 * len(parts)


def test_a_wrong_section_is_floored_at_machine_epsilon():
    clips = section(1)
    wrong = SectionClips(clips.label, -1.0 * clips.label, clips.domain, clips.decision)
    summary = official_numbers("dcase2024", {"fan": {"00": wrong}})
    own = summary.machines["fan"].sections["00"]
    assert (own["auc_source"], own["auc_target"]) == (0.0, 0.0)
    assert summary.official_score == pytest.approx(3 / (2 / EPS + 1 / own["pauc"]), rel=1e-9)


def test_means_over_sections_and_domains():
    machines = {"fan": {"00": section(1), "01": section(2)}, "valve": {"00": section(3)}}
    summary = official_numbers("dcase2022", machines)
    fan = [summary.machines["fan"].sections[s] for s in ("00", "01")]
    both = [own[f"auc_{d}"] for d in ("source", "target") for own in fan]
    assert summary.machines["fan"].mean["auc_source_target"] == pytest.approx(np.mean(both))
    assert summary.machines["fan"].harmonic_mean["auc_source_target"] == pytest.approx(hmean(both))
    everything = [own for machine in summary.machines.values() for own in machine.sections.values()]
    assert summary.mean["f1_target"] == pytest.approx(np.mean([own["f1_target"] for own in everything]))
    assert summary.harmonic_mean["pauc"] == pytest.approx(hmean([own["pauc"] for own in everything]))


def test_2020_weighs_types_alike_and_has_no_official_score():
    machines = {"fan": {f"0{i}": section(i) for i in range(3)}, "valve": {"00": section(9)}}
    summary = official_numbers("dcase2020", machines)
    fan, valve = summary.machines["fan"], summary.machines["valve"]
    aucs = [roc_auc_score(c.label, c.score) for c in machines["fan"].values()]
    label, score = (np.concatenate([getattr(c, k) for c in machines["fan"].values()]) for k in ("label", "score"))
    assert fan["auc_mean"] == fan.mean["auc"] == pytest.approx(np.mean(aucs), abs=1e-12)
    assert fan["auc_min"] == pytest.approx(min(aucs), abs=1e-12)
    assert fan.harmonic_mean["auc"] == pytest.approx(hmean(aucs), abs=1e-12)
    assert fan["auc_pooled"] == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert fan["pauc_pooled"] == pytest.approx(roc_auc_score(label, score, max_fpr=0.1), abs=1e-12)
    assert summary.mean["auc"] == pytest.approx((fan["auc_mean"] + valve["auc_mean"]) / 2)
    assert summary.mean["auc_min"] == pytest.approx((fan["auc_min"] + valve["auc_min"]) / 2)
    assert summary.official_score is None


def test_what_a_section_lacks_is_null_and_said():
    clips = section(5)
    no_target_normals = clips.select((clips.domain == "source") | (clips.label == 1))
    summary = official_numbers("dcase2025", {"fan": {"00": section(1), "01": no_target_normals}})
    fan = summary.machines["fan"]
    assert fan.sections["01"]["auc_target"] is None
    assert fan.sections["01"]["auc_source"] is not None
    assert fan.mean["auc_target"] == fan.sections["00"]["auc_target"]
    assert summary.official_score is None
    assert summary.notes == ["fan 01: no target normal clips; AUCs that need them are left out"]
    assert json.loads(json_text(summary))["official_score"] is None


@pytest.mark.parametrize(
    ("layout", "kept", "note"),
    [
        ("dcase2020", lambda c: c.label == 0, "no anomalous clips"),
        ("dcase2020", lambda c: c.label == 1, "no normal clips"),
        ("dcase2021", lambda c: c.domain == "source", "no target normal clips, no target anomalous clips"),
        ("dcase2022", lambda c: c.label == 0, "no anomalous clips"),
        ("dcase2022", lambda c: c.label == 1, "no source normal clips, no target normal clips"),
    ],
)
def test_every_lack_is_named(layout, kept, note):
    clips = section(6)
    summary = official_numbers(layout, {"fan": {"00": clips.select(kept(clips))}})
    assert f"fan 00: {note}; AUCs" in summary.notes[0]
    assert summary.official_score is None


def test_missing_decisions_are_said():
    machines = {"fan": {"00": section(1), "01": section(2, decided=False)}}
    summary = official_numbers("dcase2022", machines)
    assert summary.notes == ["no decisions for fan 01: precision, recall and F1 are left out there"]
    assert summary.machines["fan"].sections["01"]["f1_source"] is None
    assert summary.official_score is not None
    none = official_numbers("dcase2022", {"fan": {"01": section(2, decided=False)}})
    assert none.notes == ["no decisions for any section: precision, recall and F1 are left out there"]


def test_an_unknown_layout_is_one_clear_line():
    assert LAYOUTS == ("dcase2020", "dcase2021", "dcase2022", "dcase2023", "dcase2024", "dcase2025", "dcase2026")
    with pytest.raises(UserError, match="layout 'dcase2019': it must be one of dcase2020, "):
        official_numbers("dcase2019", {})
