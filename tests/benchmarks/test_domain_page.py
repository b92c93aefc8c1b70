"""The domain shift part of docs/results.md: which rows it has, what it says of given numbers, official means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import hmean

from asd.config import check_frames
from asd.metrics.official import SectionClips, official_numbers, over_runs
from asd.sweep_numbers import official_spread
from benchmarks.results import domain_page, domain_slices, domains
from benchmarks.results.__main__ import PAGE
from benchmarks.results.domain_page import BASELINE, FINETUNED, LEVEL, PRETRAINED, ROWS
from benchmarks.results.domain_slices import CONFIGS, ENSEMBLES, MEMBERS, SLICES, TYPES
from benchmarks.results.slices import Slice
from tests.system.launch import TINY

PUBLISHED = yaml.safe_load(domains.PUBLISHED.read_text())
FAMILIES = ("cpjku_", "pfu_", "vicreg_", "autoencoder", "mobilenet_v2", "wavenet")
SYSTEMS = {path.stem for path in CONFIGS.glob("*.yaml") if path.stem.startswith(FAMILIES)} - {"wavenet_mu_law"}


def test_every_config_of_s3_to_s6_has_a_row() -> None:
    assert {row.config for row in SLICES} == SYSTEMS
    shown = {row.name for row in ROWS}
    assert shown == {row.name for row in SLICES} | set(ENSEMBLES)
    assert len(MEMBERS) == 6
    assert list(ENSEMBLES.values()) == [1, 3, 5, 6]


def test_what_shifts_is_told_as_it_is() -> None:
    line = domain_page.factory_line(report_of())
    assert "--layout=dcase2022" in line
    assert "97 source and 3 target training clips" in line
    assert "fan: microphone, noise, snr" in line
    assert "The other 6 machine types" in line


def test_runs_start_from_those_of_their_seed_and_type(tmp_path: Path) -> None:
    jobs = domain_slices.plan(tmp_path / "shards", tmp_path, seeds=(1, 2))
    runs = {job.config.run.dir: job for job in jobs}
    assert len(runs) == len(jobs)
    starts = {row.name: row.starts_from for row in SLICES}
    for job in jobs:
        check_frames(job.config, 16_000)
        assert job.part in TYPES
        assert job.config.data.machine_types == (job.part,)
        if starts[job.name] is None:
            assert job.config.init_from is None
        else:
            former = runs[job.config.init_from or ""]
            assert (former.name, former.seed, former.part) == (starts[job.name], job.seed, job.part)


@pytest.mark.parametrize("family", ["cpjku_", "pfu_"])
def test_no_member_of_a_family_is_tuned_for_itself(family: str, tmp_path: Path) -> None:
    jobs = domain_slices.plan(tmp_path / "shards", tmp_path, seeds=(0,))
    own = [job.config for job in jobs if job.name.startswith(family) and job.config.init_from is None]
    assert len({config.optim.model_dump_json() for config in own}) == 1
    assert len({(config.train.epochs, config.data.crop_s) for config in own}) == 1


def one_type(name: str, random: np.random.Generator) -> dict[str, Any]:
    labels = np.repeat([0, 1, 0, 1], 10)
    domains = np.repeat(["source", "target"], 20)
    clips = {
        section: SectionClips(labels, random.standard_normal(40) + labels, domains, np.full(40, -1))
        for section in ("00", "01")
    }
    return official_numbers("dcase2022", {name: clips})


def test_runs_of_a_type_each_make_one_official_score() -> None:
    random = np.random.default_rng(0)
    by_seed = [[one_type("fan", random), one_type("valve", random)] for _ in range(2)]
    found = official_spread(by_seed)
    assert found is not None
    keys = ("auc_source", "auc_target", "pauc")
    expected = []
    for runs in by_seed:
        sections = [s for run in runs for machine in run["machines"].values() for s in machine["sections"].values()]
        values = np.array([[section[key] for key in keys] for section in sections])
        assert values.shape == (4, 3)
        expected.append(1 / np.mean(1 / values))
        np.testing.assert_allclose(over_runs(runs)["harmonic_mean"]["pauc"], 1 / np.mean(1 / values[:, 2]))
    np.testing.assert_allclose(found["score_by_seed"], expected)
    assert found["score"] == pytest.approx(np.mean(expected))
    assert found["score_sd"] == pytest.approx(abs(expected[0] - expected[1]) / 2**0.5)


def test_one_run_of_all_types_is_what_runs_of_a_type_are_together() -> None:
    clips = [one_type(name, np.random.default_rng(seed))["machines"] for seed, name in enumerate(("fan", "valve"))]
    whole = {"layout": "dcase2022", "machines": clips[0] | clips[1]}
    parts = [{"layout": "dcase2022", "machines": own} for own in clips]
    assert over_runs([whole]) == over_runs(parts)


def test_what_has_no_official_score_has_none_here() -> None:
    assert official_spread([[]]) is None
    assert official_spread([[{"layout": "dcase2020", "machines": {}}]]) is None


def numbers(*by_seed: float) -> dict[str, Any]:
    mean = sum(by_seed) / len(by_seed)
    found: dict[str, Any] = {}
    for key in ("auc_source", "auc_target", "pauc", "score"):
        found |= {key: mean, f"{key}_sd": 0.0123, f"{key}_by_seed": [*by_seed]}
    return {"official": found}


def report_of() -> dict[str, Any]:
    """As benchmarks.results.domains writes it."""
    scores: dict[str, Any] = {}
    special = {BASELINE: (0.5, 0.51, 0.52), LEVEL: (0.6, 0.6, 0.6), FINETUNED: (0.49, 0.52, 0.53)}
    for row in ROWS:
        if row.name not in ENSEMBLES:
            scores.setdefault(row.name, {})[row.scorer] = numbers(*special.get(row, (0.4, 0.4, 0.4)))
    ensembles = {name: {"ensemble": numbers(0.7, 0.7, 0.71)} for name in ENSEMBLES}
    learnt = {"loss": 0.1234, "accuracy": None}
    cost = {row.name: {"runs": 6, "steps": [7, 7], "seconds": 60.0, "validation": learnt} for row in SLICES}
    known = {"seeds": [0, 1, 2], "slots": 2, "commits": ["0123456789"]}
    return {**known, "scores": scores, "ensembles": ensembles, "cost": cost}


def cells(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {row[0].strip("*"): row[1:] for row in rows}


def test_methods_stand_beside_the_autoencoder() -> None:
    told = cells(domain_page.sections(report_of(), PUBLISHED)["domain scores"])
    assert told[BASELINE.label] == ["S6", *["51.0 ± 1.2"] * 4, *["–"] * 5]
    assert told[LEVEL.label][5:] == ["+10.0", "+9.0", "+8.0", "+9.0", "better"]
    assert told[FINETUNED.label][5:] == ["-1.0", "+1.0", "+1.0", "+0.3", "undecided"]
    assert told["wavenet, frames".replace("wavenet", "WaveNet")][-1] == "worse"
    assert told["ensemble after phase 2, top 3"][1:6] == [*["70.3 ± 1.2"] * 4, "+20.0"]
    pairs = cells(domain_page.sections(report_of(), PUBLISHED)["domain pairs"])
    assert pairs[FINETUNED.label][:3] == [PRETRAINED.label, "+9.0", "+12.0"]


def test_published_figures_are_told_as_printed() -> None:
    told = domain_page.sections(report_of(), PUBLISHED)["domain published"]
    system_1 = cells(told)["System 1 (VICReg, fine-tuned, kNN)"]
    assert (system_1[0], system_1[-1]) == ("93.26 / 81.73 / 68.34", "84.35 / 70.34 / 66.48")
    columns = zip(*([float(n) for n in cell.split(" / ")] for cell in system_1), strict=True)
    for *types, total in columns:  # three sections a type: the harmonic mean over types is that over all sections
        assert hmean(types) == pytest.approx(total, abs=0.02)
    assert "No figures" in told
    sub = cells(told)["submission 3, mean of the top 5"]
    assert (sub[0], sub[-1]) == ("78.03 / 65.37", "69.99 / 56.83")
    for table in PUBLISHED["tables"]:
        assert all(len(values) == len(table["head"]) for values in table["rows"].values())


def test_the_page_is_renewed_and_its_own_words_stay(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text(PAGE.read_text() + "\nmy own words\n")
    for _ in range(2):  # renewing it again changes nothing
        domains.write_page(report_of(), page)
        text = page.read_text()
        assert text.count("71.0 ± 1.2") == 0
        assert text.count("| WaveNet, frames |") == 1
        assert text.endswith("\nmy own words\n")


def test_runs_once_and_the_former_phase_first(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    first = Slice("first", TINY.stem, ("train.epochs=1",), by_type=True)
    then = Slice("then", TINY.stem, ("train.freeze=all_but_centres", "train.epochs=1"), True, starts_from="first")
    monkeypatch.setattr(domain_slices, "SLICES", (first, then))
    monkeypatch.setattr(domain_slices, "CONFIGS", TINY.parent)
    monkeypatch.setattr(domain_slices, "TYPES", ("fan",))
    monkeypatch.setattr(domain_slices, "MEMBERS", ("first", "then"))
    jobs = domain_slices.plan(small_set, tmp_path / "runs", seeds=(3,))
    for _ in range(2):
        domains.run(jobs, slots=1)
    printed = capfd.readouterr().out
    assert printed.count("===") == 2
    assert f"weights from {jobs[0].config.run.dir}" in printed
    folders = domain_slices.submit(jobs, tmp_path / "ensembles")
    assert set(folders) == {(name, 3) for name in ENSEMBLES}
    found = json.loads((folders["all six", 3] / "report.json").read_text())
    assert len(found["ensemble"]["runs"]["fan"]) == 2  # no more than there are
    assert domains.ensembles(folders)["all six"]["ensemble"]["official"] is None  # no domains in this set
