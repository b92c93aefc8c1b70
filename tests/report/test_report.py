"""A report and its files agree with each other."""

import numpy as np
import pytest
from rich.console import Console

from asd.errors import UserError
from asd.metrics import ClipScores as Clips
from asd.metrics import read_scores
from asd.report import (
    ORACLE_WARNING,
    Choice,
    Header,
    ReportWarning,
    build_report,
    console_table,
    markdown,
    read_report,
    scalars,
    write_report,
)
from asd.report import files as report_files
from tests.support.reports import HEADER, clips, console_text

ORACLE = HEADER.model_copy(update={"selection": Choice(rule="oracle", oracle=True)})


WARNED = HEADER.model_copy(update={"warnings": [ReportWarning(code="trivial_task", text="the proxy task is trivial")]})


def test_files_agree_with_each_other(tmp_path):
    report = write_report(tmp_path / "evaluation", clips(), HEADER)
    assert sorted(p.name for p in (tmp_path / "evaluation").iterdir()) == ["report.json", "report.md", "scores.csv"]
    assert read_report(tmp_path / "evaluation") == report
    assert (report.format, report.run, report.test.unlabelled) == (2, "runs/demo", 1)
    assert build_report(read_scores(tmp_path / "evaluation/scores.csv"), HEADER) == report
    assert (tmp_path / "evaluation/report.md").read_text() == markdown(report)


def test_report_json_is_written_last_and_an_old_one_goes_first(tmp_path, monkeypatch):
    write_report(tmp_path, clips(), HEADER)
    monkeypatch.setattr(report_files, "markdown", lambda report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path, clips(("pump",)), HEADER)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.md", "scores.csv"]


def test_a_failed_write_leaves_nothing_half_made(tmp_path, monkeypatch):
    monkeypatch.setattr(report_files, "scores_csv", lambda clips: "\ud800")  # cannot be encoded
    with pytest.raises(UnicodeEncodeError):
        write_report(tmp_path, clips(), HEADER)
    assert list(tmp_path.iterdir()) == []


def test_scores_that_are_not_finite_leave_the_old_report_alone(tmp_path):
    write_report(tmp_path, clips(), HEADER)
    broken = clips()
    broken.scores["knn"][3] = np.nan
    with pytest.raises(UserError, match="scorer knn"):
        write_report(tmp_path, broken, HEADER)
    assert (tmp_path / "report.json").exists()


def test_header_must_fit():
    with pytest.raises(ValueError, match="scorers"):
        Header.model_validate({"scorers": {}})
    with pytest.raises(ValueError, match="primary scorer gmm"):
        build_report(clips(), Header(primary="gmm"))


def test_a_report_needs_no_header():
    report = build_report(clips(), Header())
    assert (report.primary, report.baselines) == ("untrained_knn", [])
    assert build_report(clips(), Header(baselines=["untrained_knn"])).primary == "softmax"
    assert markdown(report).startswith("# Evaluation\n")
    console_text(report)


def test_oracle_selection_is_said_plainly():
    for header, said in ((ORACLE, True), (HEADER, False)):
        report = build_report(clips(), header)
        assert (ORACLE_WARNING in markdown(report)) is said
        assert (ORACLE_WARNING in console_text(report)) is said


def test_markdown_tables():
    report = build_report(clips(), HEADER)
    text = markdown(report)
    assert "| machine type | knn AUC | pAUC | softmax AUC | pAUC | untrained_knn (untrained) AUC | pAUC |" in text
    knn = report.scorers["knn"]
    fan = knn.types["fan"]
    assert f"\n| fan | {100 * fan['auc_mean']:.2f} | {100 * fan['pauc_mean']:.2f} |" in text
    assert f"\n| **mean** | **{100 * knn.mean['auc']:.2f}** |" in text
    own = fan.ids["01"]
    assert f"\n| fan | 01 | {100 * own['auc']:.2f} | {100 * own['pauc']:.2f} | 10 | 10 | 0 |" in text
    assert "\n| fan | 02 | - | - | 0 | 0 | 1 |" in text
    assert "- not scored: fan 02 (no labels)" in text
    assert "- test clips: 81 (40 normals, 40 anomalies, 1 unlabelled)" in text


def test_markdown_keeps_a_bar_in_a_name_inside_its_cell():
    assert "\n| a\\|b | " in markdown(build_report(clips(("a|b",)), HEADER))


def test_console_table_fits_a_terminal_and_marks_the_best():
    report = build_report(clips(("fan", "[red]ToyConveyor")), HEADER)
    text = console_text(report)
    best = f"{100 * report.scorers['knn'].mean['auc']:.2f}"
    assert f"\x1b[1m{best}\x1b[0m" in text
    assert "…" not in text
    assert "[red]" in text
    assert "1 of 81 test clips have no label" in text


def test_scalars():
    report = build_report(clips(), HEADER)
    tags = scalars(report)
    knn = report.scorers["knn"]
    assert tags["auc/knn/fan"] == knn.types["fan"]["auc_mean"]
    assert tags["pauc_by_id/knn/fan/01"] == knn.types["fan"].ids["01"]["pauc"]
    assert tags["mean/mauc/knn"] == knn.mean["mauc"]
    assert tags["mean/auc/untrained_knn"] == report.scorers["untrained_knn"].mean["auc"]
    assert "auc_by_id/knn/fan/02" not in tags
    assert not any(tag.startswith("auc_by_id/softmax") for tag in tags)
    assert all(isinstance(value, float) for value in tags.values())


def test_no_labels_and_no_clips_still_make_a_report(tmp_path):
    unlabelled = clips()
    unlabelled.label[:] = -1
    report = write_report(tmp_path, unlabelled, HEADER)
    assert report.scorers["knn"].mean["auc"] is None
    assert scalars(report) == {}
    assert "-/-" in console_text(report)
    nothing = Clips([], [], [], [], [], np.zeros(0, dtype=np.int64), {})
    console_text(write_report(tmp_path, nothing, Header()))


def test_a_warning_stands_on_top_of_the_report_and_under_the_table():
    report = build_report(clips(), WARNED)
    assert "\n\n**Warning: the proxy task is trivial.**\n\n" in markdown(report)
    console = Console(width=100)
    with console.capture() as shown:
        console.print(console_table(report))
    assert "warning: the proxy task is trivial" in shown.get()
    assert "arning" not in markdown(build_report(clips(), HEADER))
