"""The numbers that publications compare systems by, from labels and scores alone, against scikit-learn and SciPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import hmean
from sklearn.metrics import roc_auc_score

from asd.dcase.headline import Headline, columns_of, headline
from asd.dcase.numbers import OfficialMachine
from asd.dcase.rules import SectionClips, official_numbers
from asd.metrics.numbers import Numbers

MACHINES = {"fan": ("00", "01", "02"), "valve": ("00",), "bearing": ("00", "03")}
LATER = ("dcase2022", "dcase2024", "dcase2026")


def section(seed: int) -> SectionClips:
    random = np.random.default_rng(seed)
    label, domain = random.integers(0, 2, 80), np.array(["source", "target"])[random.integers(0, 2, 80)]
    return SectionClips(label, random.normal(size=80) + label, domain, np.full(80, -1))


SECTIONS = {m: {s: section(10 * k + int(s)) for s in own} for k, (m, own) in enumerate(MACHINES.items())}


def of(layout: str, sections: dict[str, dict[str, SectionClips]]) -> Headline:
    machines = official_numbers(layout, sections).machines
    return headline(layout, machines, machines)


def ranked(clips: SectionClips, rows: Any = slice(None), max_fpr: float | None = None) -> float:
    return float(roc_auc_score(clips.label[rows], clips.score[rows], max_fpr=max_fpr))


def by_domain(clips: SectionClips, max_fpr: float | None = None) -> list[float]:
    """2021: every domain's clips by themselves."""
    return [ranked(clips, clips.domain == domain, max_fpr) for domain in ("source", "target")]


def met(clips: SectionClips, domain: str) -> float:
    """From 2022: a domain's normals against all anomalies."""
    return ranked(clips, (clips.domain == domain) | (clips.label == 1))


def test_2020_means_over_ids_then_both_means_over_types() -> None:
    found = of("dcase2020", SECTIONS)
    types = {m: [np.mean([ranked(c, max_fpr=p) for c in own.values()]) for p in (None, 0.1)]
             for m, own in SECTIONS.items()}  # fmt: skip
    assert found.titles == ("AUC", "pAUC")
    for name, values in types.items():
        assert found.types[name] == pytest.approx(values)
    columns = [*zip(*types.values(), strict=True)]
    assert found.means["mean"] == pytest.approx([np.mean(column) for column in columns])
    assert found.means["harmonic mean"] == pytest.approx([hmean(column) for column in columns])
    assert (found["auc"], found["pauc"]) == found.means["mean"]
    assert found.official_score is None
    assert found.quality == pytest.approx(np.mean(columns))  # of the twelve values, where there are six types


def test_2021_harmonic_means_over_sections_and_domains() -> None:
    """Table 2 of the PFU report."""
    found = of("dcase2021", SECTIONS)
    aucs, paucs = (
        {m: [v for c in own.values() for v in by_domain(c, p)] for m, own in SECTIONS.items()} for p in (None, 0.1)
    )
    assert found.titles == ("AUC", "pAUC")
    for name in MACHINES:
        assert found.types[name] == pytest.approx((hmean(aucs[name]), hmean(paucs[name])))
    everything = [[v for own in column.values() for v in own] for column in (aucs, paucs)]
    assert found.means == {"harmonic mean": pytest.approx(tuple(hmean(column) for column in everything))}
    assert found.official_score == found.quality == pytest.approx(hmean([*everything[0], *everything[1]]))
    assert (found["auc"], found["pauc"]) == found.means["harmonic mean"]


@pytest.mark.parametrize("layout", LATER)
def test_from_2022_source_target_and_pauc(layout: str) -> None:
    """Tables 2 to 4 of the EPFL report."""
    found = of(layout, SECTIONS)
    rows = {m: [(met(c, "source"), met(c, "target"), ranked(c, max_fpr=0.1)) for c in own.values()]
            for m, own in SECTIONS.items()}  # fmt: skip
    assert found.titles == ("AUC source", "AUC target", "pAUC")
    for name, own in rows.items():
        assert found.types[name] == pytest.approx(hmean(own, axis=0))
    everything = [row for own in rows.values() for row in own]
    assert found.means == {"harmonic mean": pytest.approx(tuple(hmean(everything, axis=0)))}
    assert found.official_score == found.quality == pytest.approx(hmean(np.ravel(everything)))
    assert found["auc"] == pytest.approx(hmean([value for row in everything for value in row[:2]]))
    assert found["pauc"] == pytest.approx(hmean([row[2] for row in everything]))


def test_the_organisers_own_example_of_2026() -> None:
    """The evaluator's readme gives means over five machine types of one section, and the official score of these."""
    means, score = (0.6606242657626471, 0.5732431794118468, 0.568731371472361), 0.5980289616592438
    keys = ("auc_source", "auc_target", "pauc")
    machines = {
        f"m{k}": OfficialMachine(
            mean={},
            harmonic_mean=dict(zip(keys, means, strict=True)),
            sections={"00": dict(zip(keys, means, strict=True))},
        )
        for k in range(5)
    }
    assert headline("dcase2026", machines, machines).official_score == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("layout", ["table", "mimii", ""])
def test_sets_of_no_year_go_by_machine_ids(layout: str) -> None:
    machines = official_numbers("dcase2020", SECTIONS).machines
    assert headline(layout, machines, {}) == of("dcase2020", SECTIONS)


def test_a_missing_part_leaves_an_order_and_no_official_score() -> None:
    clips = SECTIONS["fan"]["00"]
    lame = {"fan": SECTIONS["fan"] | {"00": clips.select((clips.domain == "source") | (clips.label == 1))}}
    found, whole = of("dcase2022", lame), of("dcase2022", {"fan": SECTIONS["fan"]})
    assert found.official_score is None
    assert found.quality is not None and whole.quality is not None
    assert not math.isclose(found.quality, whole.quality)
    types = {"fan": Numbers(), "valve": Numbers()}
    unlabelled = headline("dcase2022", types, {})
    assert unlabelled.types == {"fan": (None,) * 3, "valve": (None,) * 3}
    assert (unlabelled.quality, unlabelled.official_score, unlabelled["auc"]) == (None, None, None)


def test_keys_are_what_the_titles_say() -> None:
    later = columns_of("dcase2022")
    assert later.of_type == later.of_section == {"auc_source": "AUC source", "auc_target": "AUC target", "pauc": "pAUC"}
    assert columns_of("dcase2020") == columns_of("table")
    assert columns_of("dcase2020").of_type == {"auc_mean": "AUC", "pauc_mean": "pAUC"}
    assert columns_of("dcase2020").of_section == {"auc": "AUC", "pauc": "pAUC"}
    assert columns_of("dcase2021").of_type == {"auc_source_target": "AUC", "pauc_source_target": "pAUC"}
    assert list(columns_of("dcase2021").of_section) == ["auc_source", "auc_target", "pauc_source", "pauc_target"]
