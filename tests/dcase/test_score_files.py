"""Official score files: what is read, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from asd.dcase import read_submission
from asd.errors import UserError
from tests.support.official_files import (
    ALL_LAYOUTS,
    Made,
    file_name,
    make,
    make_clips,
    write_lines,
    write_scores,
)
from tests.support.score_files import check_read, rows_of


def refused(made: Made, complaint: str, truth: Path | None = None, by_names: bool = False) -> None:
    with pytest.raises(UserError, match=complaint):
        read_submission(made.layout, made.scores, None if by_names else truth or made.truth)


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_form_is_joined_by_name(tmp_path, layout, line_end):
    made = make(tmp_path, layout, line_end=line_end)
    check_read(read_submission(layout, made.scores, made.truth).evaluation, made)


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_decisions_may_be_missing(tmp_path, layout):
    made = make(tmp_path, layout, decisions=False)
    check_read(read_submission(layout, made.scores, made.truth).evaluation, made, decided=False)


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_development_names_are_their_own_ground_truth(tmp_path, layout):
    made = Made(layout, tmp_path / "scores", tmp_path, make_clips(layout, named_by_label=True))
    write_scores(made)
    check_read(read_submission(layout, made.scores, None).development, made)


def test_blank_lines_spaces_a_byte_order_mark_and_other_files_do_no_harm(tmp_path):
    made = make(tmp_path, "dcase2023", line_end="\r\n")
    path = made.score_file()
    text = path.read_text().replace(",", " , ").replace("\n", "\n\n", 3)
    path.write_text("\ufeff" + text + "\n  \n", newline="\r\n")
    (made.scores / "technical_report.pdf").write_bytes(b"%PDF")
    (made.scores / "meta.yaml").write_text("submission: {}\n")
    check_read(read_submission(made.layout, made.scores, made.truth).evaluation, made)


def test_the_scores_may_lie_deeper(tmp_path):
    made = make(tmp_path / "a", "dcase2022")
    deeper = tmp_path / "team" / "system_1"
    shutil.copytree(made.scores, deeper)
    check_read(read_submission(made.layout, tmp_path / "team", made.truth).evaluation, made)


def test_the_list_of_2020_may_lie_beside_a_later_year(tmp_path):
    for layout in ("dcase2020", "dcase2024"):
        made = make(tmp_path / layout, layout)
        shutil.copytree(made.truth, tmp_path / "all", dirs_exist_ok=True)
    for layout in ("dcase2020", "dcase2024"):
        made = Made(layout, tmp_path / layout / "scores", tmp_path / "all", make_clips(layout))
        check_read(read_submission(layout, made.scores, made.truth).evaluation, made)


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
@pytest.mark.parametrize("kind", ["anomaly_score", "decision_result"])
def test_missing_unknown_and_repeated_names_are_refused_and_named(tmp_path, layout, kind):
    made = make(tmp_path, layout)
    path = made.score_file(kind=kind)
    lines = rows_of(path)
    lost = lines[0].split(",")[0]
    write_lines(path, lines[1:])
    refused(made, rf"{path.name}: 1 clips of the ground truth are missing \({lost}\)$")
    write_lines(path, [*lines, "stranger.wav,0"])
    refused(made, rf"{path.name}: 1 names are not in the ground truth \(stranger\.wav\)$")
    write_lines(path, ["stranger.wav,0", *lines[1:]])
    refused(made, rf"{lost}\) and 1 names are not in the ground truth \(stranger\.wav\)$")
    write_lines(path, [*lines, lines[0]])
    refused(made, rf"{path.name}: 1 file names have more than one row: {lost}$")


def test_many_names_are_counted(tmp_path):
    made = make(tmp_path, "dcase2023")
    write_lines(made.score_file(), rows_of(made.score_file())[12:])
    refused(
        made, r"12 clips of the ground truth are missing \((section_00_\d{4}\.wav, ){9}section_00_\d{4}\.wav and 2 more"
    )


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_a_part_of_the_ground_truth_without_scores_is_named(tmp_path, layout):
    made = make(tmp_path, layout)
    for kind in ("anomaly_score", "decision_result"):
        for path in made.scores.glob(f"{kind}_my_pump*"):
            path.unlink()
    domains = ["", ""] if layout != "dcase2021" else [" source", " target"]
    refused(made, rf"no score file for \d parts of the ground truth: my_pump 00{domains[0]}, my_pump 0\d{domains[1]}")


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_scores_without_ground_truth_are_named(tmp_path, layout):
    made = make(tmp_path, layout)
    extra = made.scores / file_name("anomaly_score", layout, "valve", "00", "source")
    shutil.copy(made.score_file(), extra)
    refused(made, rf"no ground truth in .*truth for {extra.name}$")


def test_decisions_without_scores_are_named(tmp_path):
    made = make(tmp_path, "dcase2022")
    made.score_file().unlink()
    refused(made, r"decisions without scores: decision_result_fan_section_00_test\.csv$")


def test_two_files_of_one_section_are_named(tmp_path):
    made = make(tmp_path, "dcase2022")
    (made.scores / "old").mkdir()
    shutil.copy(made.score_file(), made.scores / "old")
    name = r"anomaly_score_fan_section_00_test\.csv"
    refused(made, rf"scores/{name} and .*/old/{name} are about the same clips \(fan 00\)")


@pytest.mark.parametrize(
    ("made_as", "read_as", "hint"),
    [
        ("dcase2020", "dcase2021", ": use --layout dcase2020$"),
        ("dcase2021", "dcase2022", ": use --layout dcase2021$"),
        ("dcase2023", "dcase2021", ": use --layout dcase2022 or later$"),
    ],
)
def test_files_of_another_year_are_refused(tmp_path, made_as, read_as, hint):
    made = dataclasses.replace(make(tmp_path, made_as), layout=read_as)
    refused(made, rf"\.csv is not named as a {read_as} file{hint}")


def test_a_score_file_with_a_free_name_is_refused(tmp_path):
    made = make(tmp_path, "dcase2023")
    (made.scores / "anomaly_score_fan.csv").write_text("a.wav,1\n")
    refused(
        made, r"_fan\.csv is not named as a dcase2023 file: name it anomaly_score_<machine>_section_<SS>_test\.csv$"
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "file_name,anomaly_score",
            r"line 1 is a header \(file_name,anomaly_score\): score files have none, delete it",
        ),
        ("x.wav,high", "line 1: the score is 'high', not a finite number"),
        ("x.wav,nan", "line 1: the score is 'nan', not a finite number"),
        ("x.wav,inf", "line 1: the score is 'inf', not a finite number"),
        ("x.wav,", "line 1: the score is '', not a finite number"),
        ("x.wav", "line 1: 1 fields instead of a file name and a number"),
        ("x.wav,1,2", "line 1: 3 fields instead"),
        ("x.wav;1", "line 1: 1 fields instead"),
    ],
)
def test_a_row_that_is_none_is_refused(tmp_path, line, complaint):
    made = make(tmp_path, "dcase2023")
    write_lines(made.score_file(), [line, *rows_of(made.score_file())])
    refused(made, rf"anomaly_score_fan_section_00_test\.csv, {complaint}")


def test_the_line_of_a_bad_row_is_that_of_the_file(tmp_path):
    made = make(tmp_path, "dcase2023")
    write_lines(made.score_file(), ["", *rows_of(made.score_file()), "", "x.wav,?"])
    refused(made, rf"line {3 + len(made.of('fan', '00'))}: the score is '\?'")


@pytest.mark.parametrize("content", [b"", b"\r\n\r\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    made = make(tmp_path, "dcase2023")
    made.score_file().write_bytes(content)
    refused(made, r"anomaly_score_fan_section_00_test\.csv is empty")


def test_a_binary_file_is_refused(tmp_path):
    made = make(tmp_path, "dcase2023")
    made.score_file().write_bytes(b"\xff\xfe\x00\x80")
    refused(made, r"anomaly_score_fan_section_00_test\.csv is not a csv text file")


def test_a_decision_is_0_or_1(tmp_path):
    made = make(tmp_path, "dcase2023")
    path = made.score_file(kind="decision_result")
    first = rows_of(path)[0].split(",")[0]
    write_lines(path, [f"{first},1.0", *rows_of(path)[1:]])
    read = read_submission(made.layout, made.scores, made.truth).evaluation["fan"]["00"]
    assert set(read.decision) == {0, 1}
    write_lines(path, [f"{first},0.5", *rows_of(path)[1:]])
    refused(made, r"decision_result_fan_section_00_test\.csv, line 1: '0\.5' is neither 0 nor 1")


def test_folders_that_hold_nothing(tmp_path):
    made = make(tmp_path, "dcase2023")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(dataclasses.replace(made, scores=empty), r"--scores .*empty holds no anomaly_score_….csv")
    refused(dataclasses.replace(made, scores=empty / "x"), r"--scores .*x is not a folder")
    refused(made, r"--ground-truth .*empty holds neither eval_data_list\.csv nor", empty)


def test_ground_truth_of_another_year_is_refused(tmp_path):
    made = make(tmp_path, "dcase2023")
    refused(made, r"clips of the ground truth are missing \(section_01_source", make(tmp_path / "a", "dcase2021").truth)
    refused(made, r"no ground truth in .*truth for anomaly_score_ToyCar_", make(tmp_path / "b", "dcase2020").truth)


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_released_names_are_no_ground_truth(tmp_path, layout):
    made = make(tmp_path, layout)
    lists = "eval_data_list.csv" if layout == "dcase2020" else "the folder of the evaluator's ground_truth_…"
    refused(made, rf"in anomaly_score_ToyCar_.* carry no label: give --ground-truth {lists}", by_names=True)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("dcase2020", "normal_id_01_00000000.wav"),  # another ID
        ("dcase2021", "section_00_target_test_normal_0000.wav"),  # another domain
        ("dcase2022", "section_01_source_test_normal_0000.wav"),  # another section
        ("dcase2022", "section_00_source_train_normal_0000.wav"),  # a training clip
        ("dcase2023", "section_00_normal_0000.wav"),
    ],
)
def test_a_name_of_another_section_is_refused(tmp_path, layout, name):
    made = Made(layout, tmp_path / "scores", tmp_path, make_clips(layout, named_by_label=True))
    write_scores(made, decisions=False)
    write_lines(made.score_file(), [*rows_of(made.score_file()), f"{name},0.5"])
    refused(made, rf"1 names are not of the form .* for fan 00.*: {name}$", by_names=True)
