"""The first part of docs/results.md in small: systems run on a set, and its table has their numbers."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from asd.config.checks import check_frames
from asd.evaluate.history import best_step
from asd.report import read_report
from asd.run_folder.paths import RunFolder
from benchmarks.results import __main__ as results
from benchmarks.results import development_sets
from benchmarks.results.development_sets import SHOWN, SLICES, DevelopmentSet

UNTRAINED = tuple(row for row in SLICES if row.name == "statistics")


def test_every_row_of_the_table_is_a_scorer_of_its_run(small_set: Path) -> None:
    jobs = development_sets.plan(DevelopmentSet("small", {0: small_set}))
    labels = {job.name: {scorer.label for scorer in job.config.evaluate.scorers} for job in jobs}
    assert all(scorer in labels[run] for _, run, scorer in SHOWN)
    assert len({job.config.run.dir for job in jobs}) == len(SLICES)
    for job in jobs:
        check_frames(job.config, 16_000)


def test_the_sets_come_to_their_page(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = DevelopmentSet("small", {0: small_set})
    columns = [own, dataclasses.replace(own, title="its fans", types=("fan",))]
    monkeypatch.setattr(development_sets, "SLICES", UNTRAINED)
    monkeypatch.setattr(development_sets, "SHOWN", SHOWN[:1])
    monkeypatch.setattr(development_sets, "real_sets", lambda recordings, work: columns)
    shutil.copy(results.PAGE, tmp_path / "page.md")
    results.main(f"--part real --recordings {tmp_path} --page {tmp_path / 'page.md'} --slots 1".split())
    folder = RunFolder(Path(development_sets.plan(own)[0].config.run.dir))
    report = read_report(folder.evaluation(best_step(folder, "last")))
    assert report is not None
    shown = " | ".join(f"{100 * column.number(report, 'untrained_knn'):.1f}" for column in columns)
    assert f"| *untrained nearest neighbour* | {shown} |" in (tmp_path / "page.md").read_text(encoding="utf-8")
