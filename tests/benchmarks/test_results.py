"""`benchmarks.results` in small: every config has its row, nothing is trained twice, both parts come to their page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from asd.config.checks import check_frames
from asd.dcase.numbers import OfficialMachine
from asd.dcase.rules import SectionClips, official_numbers, over_runs
from asd.errors import UserError
from asd.sweep.numbers import Row, Spread, official_spread
from benchmarks.results import __main__ as results
from benchmarks.results import domain_page, domain_slices, page, slices
from benchmarks.results.__main__ import PAGE
from benchmarks.results.domain_slices import ENSEMBLES
from benchmarks.results.slices import CONFIGS, Slice
from benchmarks.sections import replace_section
from tests.support.launch import TINY

S1_S2 = tuple(page.FAMILIES.values())
S3_S6 = ("cpjku_", "pfu_", "vicreg_", "autoencoder", "mobilenet_v2", "wavenet")


def configs(beginnings: tuple[str, ...]) -> set[str]:
    return {path.stem for path in CONFIGS.glob("*.yaml") if path.stem.startswith(beginnings)}


def test_every_config_of_the_systems_has_a_row() -> None:
    known = yaml.safe_load(results.PUBLISHED.read_text(encoding="utf-8"))
    assert {row.name for row in slices.SLICES if not row.control} == configs(S1_S2) > set(known)
    assert {row.config for row in domain_slices.SLICES} == configs(S3_S6) - {"wavenet_mu_law"}
    assert {row.name for row in domain_page.ROWS} == {row.name for row in domain_slices.SLICES} | set(ENSEMBLES)


@pytest.mark.parametrize(("rows", "types"), [(slices.SLICES, ()), (domain_slices.SLICES, domain_slices.TYPES)])
def test_plans_fit_the_sets_and_runs_start_from_those_of_their_seed_and_type(
    rows: tuple[Slice, ...], types: tuple[str, ...], small_set: Path, tmp_path: Path
) -> None:
    jobs = slices.plan(rows, small_set, tmp_path, (1, 2), types)
    runs = {job.config.run.dir: job for job in jobs}
    starts = {row.name: row.starts_from for row in rows}
    assert len(runs) == len(jobs)
    for job in jobs:
        check_frames(job.config, 16_000)
        former = runs.get(job.config.init_from or "")
        assert (former and former.name) == starts[job.name]
        assert former is None or (former.seed == job.seed and former.part in (None, job.part))


@pytest.mark.parametrize("family", [*S1_S2, "cpjku_", "pfu_"])
def test_no_member_of_a_family_is_tuned_for_itself(family: str, small_set: Path, tmp_path: Path) -> None:
    rows, types = ((slices.SLICES, ()), (domain_slices.SLICES, domain_slices.TYPES))[family in S3_S6]
    own = [job.config for job in slices.plan(rows, small_set, tmp_path, (0,), types) if job.name.startswith(family)]
    own = [config for config in own if config.init_from is None]
    assert len({config.optim.model_dump_json() for config in own}) == 1
    assert len({(config.train.epochs, config.data.crop_s) for config in own}) == 1


def test_the_machines_come_to_their_page_and_nothing_is_trained_twice(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = (
        Slice("dcase2020_integrated", "dcase2020_integrated", ("train.epochs=1",)),
        Slice(
            "tastgram_noisy_arcmix", "tastgram_noisy_arcmix", ("train.epochs=1",), starts_from="dcase2020_integrated"
        ),
    )
    for row in rows:
        shutil.copy(TINY, tmp_path / f"{row.config}.yaml")
    for module in (slices, page):
        monkeypatch.setattr(module, "CONFIGS", tmp_path)
        monkeypatch.setattr(module, "SLICES", rows)
    monkeypatch.setattr(slices, "SEEDS", (3,))
    monkeypatch.setattr(results, "make_factory", lambda work, options: small_set)
    shutil.copy(PAGE, tmp_path / "page.md")
    text = []
    for _ in range(2):
        (tmp_path / "work").mkdir(exist_ok=True)
        results.main(f"--part machines --work {tmp_path / 'work'} --page {tmp_path / 'page.md'} --slots 1".split())
        text.append((tmp_path / "page.md").read_text(encoding="utf-8"))
    printed = capfd.readouterr().out
    assert printed.count("training /") == 2  # once each
    assert f"weights from {tmp_path}" in printed
    assert text[0] == text[1] != PAGE.read_text(encoding="utf-8")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_ensembles_of_what_there_is(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Slice("one", TINY.stem, ("train.epochs=1",), by_type=True)
    monkeypatch.setattr(slices, "CONFIGS", TINY.parent)
    monkeypatch.setattr(domain_slices, "MEMBERS", ("one",))
    jobs = slices.plan([row], small_set, tmp_path / "runs", (3,), ("fan",))
    slices.run(jobs, slots=1)
    folders = domain_slices.submit(jobs, tmp_path / "ensembles")
    assert set(folders) == {(name, 3) for name in ENSEMBLES}
    assert results.ensembles(folders)["all six"]["ensemble"].official is None  # no domains in this set


def test_the_domains_come_to_their_page(tmp_path: Path) -> None:
    keys = ("auc_source", "auc_target", "pauc", "score")
    own = {key: Spread((0.5,), 0.5, 0.01) for key in keys}
    scores: dict[str, Any] = {}
    for row in domain_page.ROWS:
        scores.setdefault(row.name, {})[row.scorer] = Row(1, "dcase2022", {}, {}, own)
    report = {"seeds": [0], "slots": 2, "commits": ["0"], "cost": {}, "scores": scores, "ensembles": scores}
    shutil.copy(PAGE, tmp_path / "page.md")
    for name, body in domain_page.sections(report).items():
        replace_section(tmp_path / "page.md", name, body)
    assert (tmp_path / "page.md").read_text(encoding="utf-8").count("50.0 ± 1.0") == 4 * len(domain_page.ROWS)
    with pytest.raises(UserError, match="begin nothing"):
        replace_section(tmp_path / "page.md", "nothing", "body")


# ---- official scores over runs of one machine type each ------------------------------------------------------------


def one_type(name: str, random: np.random.Generator) -> dict[str, OfficialMachine]:
    labels, domains = np.repeat([0, 1, 0, 1], 10), np.repeat(["source", "target"], 20)
    clips = {
        section: SectionClips(labels, random.standard_normal(40) + labels, domains, np.full(40, -1))
        for section in ("00", "01")
    }
    return official_numbers("dcase2022", {name: clips}).machines


def test_runs_of_a_type_each_make_one_official_score() -> None:
    random = np.random.default_rng(0)
    by_seed = [one_type("fan", random) | one_type("valve", random) for _ in range(2)]
    found = official_spread("dcase2022", by_seed)
    assert found is not None
    keys = ("auc_source", "auc_target", "pauc")
    expected = []
    for machines in by_seed:
        sections = [section for machine in machines.values() for section in machine.sections.values()]
        values = np.array([[section[key] for key in keys] for section in sections])
        assert values.shape == (4, 3)
        expected.append(1 / np.mean(1 / values))
        np.testing.assert_allclose(over_runs("dcase2022", machines.values())[1]["pauc"], 1 / np.mean(1 / values[:, 2]))
    np.testing.assert_allclose(found["score"].by_seed, expected)
    assert found["score"].sd == pytest.approx(abs(expected[0] - expected[1]) / 2**0.5)


def test_what_has_no_official_score_has_none_here() -> None:
    machines = one_type("fan", np.random.default_rng(0))
    assert official_spread("dcase2022", [machines, {}]) is None
    assert official_spread("dcase2020", [machines]) is None
