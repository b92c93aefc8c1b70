"""docs/results.md: which rows it has, what it says of given numbers, and that nothing is trained twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from asd.config import check_frames
from asd.errors import UserError
from asd.metrics.headline import headline
from benchmarks.results import figure, machines, slices
from benchmarks.results import page as results_page
from benchmarks.results.__main__ import PAGE
from benchmarks.results.runs import collect
from benchmarks.results.slices import CONFIGS, SLICES, Slice
from benchmarks.sections import replace_section
from tests.system.launch import TINY

PUBLISHED = yaml.safe_load(machines.PUBLISHED.read_text())
FAMILIES = tuple(results_page.FAMILIES.values())
SYSTEMS = {path.stem for path in CONFIGS.glob("*.yaml") if path.stem.startswith(FAMILIES)}
ROWS = {row.name: row for row in SLICES}


def test_every_config_of_s1_and_s2_has_a_row_and_an_entry_of_what_was_published() -> None:
    assert {row.name for row in SLICES if not row.control} == SYSTEMS == set(PUBLISHED["configs"])
    assert all(name not in SYSTEMS for name in ROWS if ROWS[name].control)
    assert len({row.name for row in SLICES}) == len(SLICES)
    assert sorted(row.name for family in results_page.FAMILIES for row in results_page.members(family)) == sorted(ROWS)


def test_published_figures_name_their_metric_and_source() -> None:
    for known in PUBLISHED["configs"].values():
        assert known["metric"] in PUBLISHED["metrics"]
        assert known["source"] in PUBLISHED["sources"]
        for part in ("dev", "eval"):
            assert known[part] is None or all(50 < value < 100 for value in known[part].values())
    best = PUBLISHED["configs"]["dcase2020_transfer"]  # the blog's own statement
    assert best["eval"]["auc"] == max(k["eval"]["auc"] for k in PUBLISHED["configs"].values() if k["eval"])


def test_plan_fits_the_set_and_transfers_start_from_the_run_of_their_seed(small_set: Path, tmp_path: Path) -> None:
    jobs = slices.plan(small_set, tmp_path, seeds=(1,))
    assert len({job.config.run.dir for job in jobs}) == len(jobs)
    for job in jobs:
        check_frames(job.config, 16_000)
    former = {job.seed: job.config.run.dir for job in jobs if job.name == "dcase2020_integrated"}
    transfers = [job for job in jobs if job.name == "dcase2020_transfer"]
    assert {job.config.data.machine_types for job in transfers} == {("fan",), ("pump",), ("valve",)}
    assert [job.config.init_from for job in transfers] == [former[job.seed] for job in transfers]
    assert all(job.config.init_from is None for job in jobs if job not in transfers)


@pytest.mark.parametrize("family", results_page.FAMILIES)
def test_no_member_of_a_family_is_tuned_for_itself(family: str, small_set: Path, tmp_path: Path) -> None:
    jobs = [job for job in slices.plan(small_set, tmp_path, seeds=(0,)) if job.name != "dcase2020_transfer"]
    own = [job.config for job in jobs if job.name in {row.name for row in results_page.members(family)}]
    assert len({config.optim.model_dump_json() for config in own}) == 1
    assert len({(config.train.epochs, config.train.global_batch, config.data.crop_s) for config in own}) == 1


def test_changes_are_told_as_they_are() -> None:
    told = results_page.changes(ROWS["tastgram_noisy_arcmix_paper"])
    assert "frontend.frames 313 → 32" in told
    assert "data.crop_s 10.0 → 1.0" in told
    assert not any("margin" in change or "mixup" in change for change in told)
    assert results_page.changes(Slice("x", "tastgram_arcface", ())) == []
    assert "loss.name arcface → softmax" in results_page.changes(Slice("x", "tastgram_arcface", ("loss.name=softmax",)))


def numbers(*by_seed: float) -> dict[str, Any]:
    mean = sum(by_seed) / len(by_seed)
    keys = ("auc", "pauc", "mauc", "auc_pooled", "auc_oracle")
    spread = {k: v for key in keys for k, v in ((key, mean), (f"{key}_sd", 0.0123), (f"{key}_by_seed", [*by_seed]))}
    return {"seeds": len(by_seed), "types": {"fan": mean}, **spread}


def report_of(**softmax: tuple[float, ...]) -> dict[str, Any]:
    """As benchmarks.results writes it, of these rows."""
    untrained = {"untrained_knn": numbers(0.6, 0.6, 0.6), "untrained_knn_level": numbers(0.71, 0.7, 0.69)}
    others = {"centroid": numbers(0.777, 0.777, 0.777), "knn": numbers(0.666, 0.666, 0.666)}
    scores = {name: {"softmax": numbers(*values), **others, **untrained} for name, values in softmax.items()}
    learnt = {"loss": 0.1234, "accuracy": 0.987}
    cost = {name: {"runs": 3, "steps": [7, 7], "seconds": 300.0, "validation": learnt} for name in scores}
    return {"seeds": [0, 1, 2], "slots": 2, "commits": ["0123456789"], "scores": scores, "cost": cost}


GIVEN = {
    "dcase2020_integrated": (0.8, 0.81, 0.82),
    "dcase2020_integrated_softmax": (0.81, 0.82, 0.83),
    "tastgram_arcface": (0.7, 0.75, 0.8),
    "tastgram_noisy_arcmix": (0.72, 0.74, 0.83),
}


def test_scores_stand_beside_what_was_published() -> None:
    parts = results_page.sections(report_of(**GIVEN), PUBLISHED)
    lines = {line.split(" | ")[0].strip("| *"): line for line in parts["scores"].splitlines() if line.startswith("|")}
    assert lines["dcase2020_integrated"].count("81.0 ± 1.2") == 5
    assert "77.7 ± 1.2 | 66.6 ± 1.2" in lines["dcase2020_integrated"]
    assert lines["dcase2020_integrated"].endswith("| 90.75 / 82.85 | 93.48 / 85.62 |")
    assert "70.0 ± 1.2" in lines["the same, level-normalised"]
    assert lines["tastgram_noisy_arcmix"].endswith("| – | – |")  # another network than the published one
    assert "tastgram_guided" not in lines  # no numbers, no row


def test_differences_are_paired_by_seed() -> None:
    table = results_page.sections(report_of(**GIVEN), PUBLISHED)["differences"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    told = {(row[0], row[1]): row[2:] for row in rows}
    level = "its untrained nearest neighbour, level-normalised"
    assert told["dcase2020_integrated", level] == ["+9.0", "+11.0", "+13.0", "+11.0", "better"]
    assert told["dcase2020_integrated", "dcase2020_integrated_softmax"][3:] == ["-1.0", "worse"]
    assert told["tastgram_noisy_arcmix", "tastgram_arcface"] == ["+2.0", "-1.0", "+3.0", "+1.3", "undecided"]


def test_cost_is_what_the_runs_took() -> None:
    parts = results_page.sections(report_of(**GIVEN), PUBLISHED)
    (row,) = [line for line in parts["slices"].splitlines() if line.startswith("| dcase2020_integrated |")]
    assert row.startswith("| dcase2020_integrated | 7 | 3 | 0.123 | 98.7 | ")
    assert "data.crop_s 10.0 → 1.0" in row
    assert "12 runs took 20 minutes of one slot together, about 10 minutes with 2 slots" in results_page.cost_line(
        report_of(**GIVEN)
    )


def test_the_page_is_renewed_and_its_own_words_stay(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text(PAGE.read_text() + "\nmy own words\n")
    for _ in range(2):  # renewing it again changes nothing
        machines.write_page(report_of(**GIVEN), page)
        text = page.read_text()
        assert text.count("+13.0") == 1
        assert text.endswith("\nmy own words\n")
    assert page.with_suffix(".png").stat().st_size > 10_000


def test_the_picture_has_a_dot_a_seed() -> None:
    drawn = figure.draw(report_of(**GIVEN)["scores"])
    dots = [len(c.get_offsets()) for axes in drawn.axes for c in axes.collections]
    assert dots == [3] * 3 * len(GIVEN)


def test_a_page_without_its_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(UserError, match="begin scores"):
        replace_section(page, "scores", "body")


def test_runs_once_in_order_and_goes_on(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    former = Slice("former", TINY.stem, ("train.epochs=1",))
    later = Slice("later", TINY.stem, ("train.freeze=all_but_centres", "train.epochs=1"), starts_from="former")
    monkeypatch.setattr(slices, "SLICES", (former, later))
    monkeypatch.setattr(slices, "CONFIGS", TINY.parent)
    jobs = slices.plan(small_set, tmp_path, seeds=(3,))
    slices.run(jobs[:1], slots=1)
    slices.run(jobs, slots=2)
    printed = capfd.readouterr().out
    assert printed.count("===") == 2  # the first was done already
    assert f"weights from {jobs[0].config.run.dir}" in printed
    report = json.loads(json.dumps(collect(jobs, slots=2)))
    assert list(report["scores"]) == ["former", "later"]
    assert report["seeds"] == [3]
    assert len(report["commits"]) == 1
    assert all(
        cost["steps"] == [5, 5] and cost["seconds"] > 0 < cost["validation"]["loss"] for cost in report["cost"].values()
    )


def printed(table: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Row → column → its numbers."""
    return {name: [[float(n) for n in cell.split("/")] for cell in row] for name, row in table["rows"].items()}


def test_published_rows_by_machine_type_give_the_published_means() -> None:
    """So that the rows are copied right, and the harmonic mean is the one over the types' means, as in our tables."""
    blog, readme = PUBLISHED["tables"]
    differing = 0
    for name, columns in printed(blog).items():
        types = columns[:6]
        for at, (mean, harmonic) in enumerate(zip(*columns[6:], strict=True)):
            values = {str(n): {"auc_mean": own[at] / 100, "pauc_mean": 0.5} for n, own in enumerate(types)}
            means = headline("dcase2020", values, {}).means
            differing += abs(100 * (means["mean"][0] or 0) - mean) > 0.011
            assert 100 * (means["harmonic mean"][0] or 0) == pytest.approx(harmonic, abs=0.09), name
    assert differing == 1  # the blog's own integrated model, development pAUC: SYSTEMS' 82.85 is not its rows' mean
    average = printed(readme)["Noisy-ArcMix, TASTgram"]
    assert [sum(own[at] for own in average[:6]) / 6 for at in range(3)] == pytest.approx(average[6], abs=0.011)
    for config, known in PUBLISHED["configs"].items():
        if config == "tastgram_noisy_arcmix_paper":
            assert average[6] == [*known["dev"].values()]


def test_published_rows_stand_on_the_page() -> None:
    body = results_page.sections(report_of(**GIVEN), PUBLISHED)["published"]
    assert "| transfer, eval | 93.50 / 89.33 | 85.95 / 71.37 |" in body
    assert body in (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
