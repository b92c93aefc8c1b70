"""Decisions by machine, and the year's numbers of clip scores, against the rule used directly and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from asd.dcase.rules import LAYOUTS, SectionClips, official_numbers, official_of
from asd.metrics import ClipScores
from asd.metrics.decisions import NO_DECISION, decide_clips, machines_of
from asd.metrics.thresholds import GammaConfig, PercentileConfig

MACHINES = (("fan", "00"), ("fan", "01"), ("valve", "00"))
DOMAINS = ("source", "target")
PERCENTILE = PercentileConfig(percent=75)


def clips_of(rows: list[tuple[str, str, str, int, float]], **more: np.ndarray) -> ClipScores:
    """One clip a row: machine type, ID, domain, label, score of the scorer `knn`."""
    machine_type, machine_id, domain, label, score = (list(column) for column in zip(*rows, strict=True))
    keys = [f"clip{n}" for n in range(len(rows))]
    files = [f"{key}.wav" for key in keys]
    scores = {"knn": np.array(score, dtype=float), **more}
    return ClipScores(keys, files, machine_type, machine_id, domain, np.array(label), scores)


@pytest.fixture
def tested() -> ClipScores:
    """20 clips of each machine and domain in random order, half of them anomalous, two unlabelled."""
    random = np.random.default_rng(0)
    rows = [
        (*machine, domain, n % 2, round(float(random.normal() + n % 2), 1))
        for machine in MACHINES
        for domain in DOMAINS
        for n in range(20)
    ]
    random.shuffle(rows)
    rows += [("fan", "00", "source", -1, 100.0), ("valve", "00", "", -1, -100.0)]
    return clips_of(rows)


def calibration_of(machines: dict[tuple[str, str], np.ndarray]) -> ClipScores:
    return clips_of([(*machine, "source", 0, score) for machine, own in machines.items() for score in own])


def by_hand(clips: ClipScores, decision: np.ndarray) -> dict[str, dict[str, SectionClips]]:
    """The labelled clips of a domain, section by section, picked one by one."""
    found: dict[str, dict[str, SectionClips]] = {}
    for machine_type, machine_id in MACHINES:
        rows = [
            row
            for row in range(len(clips))
            if (clips.machine_type[row], clips.machine_id[row]) == (machine_type, machine_id)
            and clips.label[row] >= 0
            and clips.domain[row] in DOMAINS
        ]
        columns = (clips.label, clips.scores["knn"], np.array(clips.domain), decision)
        found.setdefault(machine_type, {})[machine_id] = SectionClips(*(column[rows] for column in columns))
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numbers_are_those_of_the_rule_on_the_labelled_clips(layout, tested):
    decision = (tested.scores["knn"] > 0.5).astype(int)
    assert official_of(layout, tested, "knn", decision) == official_numbers(layout, by_hand(tested, decision))


def test_a_section_of_2022_by_hand():
    rows = [("fan", "00", "source", 0, 1.0), ("fan", "00", "source", 0, 3.0), ("fan", "00", "target", 0, 5.0),
            ("fan", "00", "source", 1, 4.0), ("fan", "00", "target", 1, 2.0)]  # fmt: skip
    found = official_of("dcase2022", clips_of(rows), "knn", np.array([0, 1, 1, 1, 0]))
    section = found.machines["fan"].sections["00"]
    assert section["auc_source"] == 3 / 4  # of (4, 2) over (1, 3): all but 2 over 3
    assert section["auc_target"] == 0.0  # neither is above 5
    assert section["f1_source"] == pytest.approx(2 / 3)  # one hit, one false alarm
    assert section["f1_target"] == 0.0


def test_without_decisions_there_is_no_f1(tested):
    found = official_of("dcase2023", tested, "knn")
    assert found == official_numbers("dcase2023", by_hand(tested, np.full(len(tested), NO_DECISION)))
    assert found.harmonic_mean["f1_source"] is None
    assert found.official_score is not None


def test_machines_without_a_decision_have_no_f1(tested):
    decision = np.where(np.array(tested.machine_type) == "fan", 1, NO_DECISION)
    found = official_of("dcase2022", tested, "knn", decision)
    assert found.machines["fan"].sections["00"]["f1_source"] == pytest.approx(2 / 3)
    assert found.machines["valve"].sections["00"]["f1_source"] is None
    assert "no decisions for valve 00" in found.notes[0]


def test_sections_without_a_labelled_clip_are_left_out():
    rows = [("fan", "00", d, label, float(label)) for d in DOMAINS for label in (0, 1)]
    found = official_of("dcase2024", clips_of([*rows, ("valve", "00", "source", -1, 1.0)]), "knn")
    assert list(found.machines) == ["fan"]
    assert found.official_score == 1.0


def test_where_no_rule_applies(tested):
    assert official_of("mimii", tested, "knn") is None
    assert official_of("table", tested, "knn") is None
    unlabelled = clips_of([("fan", "00", "source", -1, 0.5)])
    assert official_of("dcase2022", unlabelled, "knn") is None
    without_domains = clips_of([("fan", "00", "", label, 0.5) for label in (0, 1)])
    assert official_of("dcase2022", without_domains, "knn") is None
    assert official_of("dcase2020", without_domains, "knn").machines["fan"].sections["00"]["auc"] == 0.5


def test_every_machine_is_decided_by_its_own_normal_clips(tested):
    random = np.random.default_rng(1)
    normal = {machine: random.normal(loc=n, size=40) for n, machine in enumerate(MACHINES)}
    found = decide_clips(tested, calibration_of(normal), "knn", PERCENTILE)
    for machine, own in normal.items():
        assert found.thresholds[machine].value == pytest.approx(np.percentile(own, 75))
        assert found.thresholds[machine].rule == "percentile"
    for machine, score, decision in zip(machines_of(tested), tested.scores["knn"], found.decision, strict=True):
        assert decision == (score > np.percentile(normal[machine], 75))
    assert found.decision[-2:].tolist() == [1, 0]  # clips without a label are decided, too


def test_the_gamma_threshold_is_the_one_of_scipy(tested):
    own = np.random.default_rng(2).gamma(3.0, size=200)
    found = decide_clips(tested, calibration_of({("fan", "00"): own}), "knn", GammaConfig(percent=80))
    shape, location, scale = stats.gamma.fit(own)
    assert found.thresholds["fan", "00"].rule == "gamma"
    assert found.thresholds["fan", "00"].value == pytest.approx(stats.gamma.ppf(0.8, shape, location, scale), rel=1e-3)


def test_a_machine_without_calibration_clips_is_not_decided(tested):
    normal = {("fan", "00"): np.zeros(5), ("pump", "00"): np.ones(5)}
    found = decide_clips(tested, calibration_of(normal), "knn", PERCENTILE)
    assert list(found.thresholds) == [("fan", "00")]
    for machine, decision in zip(machines_of(tested), found.decision, strict=True):
        assert (decision == NO_DECISION) == (machine != ("fan", "00"))


def test_the_named_scorer_decides(tested):
    ours = clips_of([("fan", "00", "source", 0, 0.0)] * 3, other=np.array([1.0, 2.0, 3.0]))
    normal = clips_of([("fan", "00", "source", 0, 5.0)] * 2, other=np.array([1.5, 1.5]))
    assert decide_clips(ours, normal, "other", PERCENTILE).decision.tolist() == [0, 1, 1]
    assert decide_clips(ours, normal, "knn", PERCENTILE).decision.tolist() == [0, 0, 0]
