"""Files as the organisers' baselines name them are read as their evaluators read them; both halves of one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from asd.dcase import read_submission
from asd.dcase.file_names import FileKey, parse_name
from asd.errors import UserError
from tests.support.official_files import (
    ALL_LAYOUTS,
    Clip,
    Made,
    make,
    make_clips,
    put,
    write_lines,
    write_scores,
    write_truth,
)
from tests.support.score_files import check_read

SECTION = FileKey("ToyCar", "00")


@pytest.mark.parametrize("kind", ["anomaly_score", "decision_result"])
@pytest.mark.parametrize(
    ("layout", "name", "key"),
    [
        ("dcase2020", "ToyCar_id_01.csv", FileKey("ToyCar", "01")),
        ("dcase2020", "ToyCar_id_01_seed7.csv", FileKey("ToyCar", "01")),  # found by anomaly_score_ToyCar_id*
        ("dcase2020", "DCASE2020T2ToyCar_section_01_test_seed13711_id(0_).csv", FileKey("ToyCar", "01")),
        ("dcase2021", "ToyCar_section_00_target_test.csv", FileKey("ToyCar", "00", "target")),
        ("dcase2021", "DCASE2021T2ToyCar_section_00_test_seed13711_id(0_).csv", SECTION),
        ("dcase2022", "ToyCar_section_00_test.csv", SECTION),
        ("dcase2022", "ToyCar_section_00.csv", SECTION),  # as the readme of that year's evaluator has it
        ("dcase2022", "DCASE2022T2ToyCar_section_00_test_seed1_id(0_1_2_)_Eval.csv", SECTION),
        ("dcase2023", "DCASE2023T2ToyCar_section_00_test_seed13711_id(0_).csv", SECTION),
        ("dcase2023", "DCASE2023T2ToyCar_section_00_test_seed13711_id(0_)_Eval.csv", SECTION),
        ("dcase2023", "DCASE2023T2ToyCar_section_00_test_seed13711_Eval.csv", SECTION),  # copied without the tag
        ("dcase2023", "DCASE2023T2ToyCar_section_00_test_seed13711.csv", SECTION),
        ("dcase2024", "DCASE2024T23DPrinter_section_00_test_seed3_my tag_Eval.csv", FileKey("3DPrinter", "00")),
        ("dcase2026", "DCASE2026T2BlowerDustCollector_section_00_test_seed0_id(0_)_Eval.csv",
         FileKey("BlowerDustCollector", "00")),
        ("dcase2024", "DCASE2023T2ToyCar_section_00_test_seed13711_id(0_).csv", None),  # another year's
        ("dcase2021", "ToyCar_section_00_source_test_seed1.csv", None),
        ("dcase2023", "ToyCar_section_0_test.csv", None),
        ("dcase2023", "ToyCar_section_00_test_old.csv", None),
        ("dcase2020", "ToyCar_section_00_test.csv", None),
    ],
)  # fmt: skip
def test_names_of_submissions_and_baselines(kind: str, layout: str, name: str, key: FileKey | None) -> None:
    assert parse_name(kind, layout, f"{kind}_{name}") == key


def rename(made: Made, new_name: Callable[[Path], str]) -> None:
    for path in list(made.scores.iterdir()):
        path.rename(path.with_name(new_name(path)))


def baseline_name(year: str, path: Path) -> str:
    """As the baseline of 2023 to 2026 would have called a section's file."""
    kind = "anomaly_score" if path.name.startswith("anomaly_score") else "decision_result"
    rest = path.stem.removeprefix(f"{kind}_").removesuffix("_test").replace("_id_", "_section_")
    return f"{kind}_DCASE{year}T2{rest}_test_seed13711_id(0_)_Eval.csv"


@pytest.mark.parametrize("layout", [layout for layout in ALL_LAYOUTS if layout != "dcase2021"])
def test_a_baselines_files_are_read_with_ground_truth_and_decisions(tmp_path: Path, layout: str) -> None:
    made = make(tmp_path, layout)
    rename(made, lambda path: baseline_name(layout[-4:], path))
    check_read(read_submission(layout, made.scores, made.truth).evaluation, made)


def test_a_baselines_file_of_2021_has_both_domains(tmp_path: Path) -> None:
    made = make(tmp_path, "dcase2021")
    for kind, value in (("anomaly_score", lambda c: repr(c.score)), ("decision_result", lambda c: str(c.decision))):
        put(dataclasses.replace(made, layout="dcase2022"), tmp_path / "both", kind, value, "\n")
    both = dataclasses.replace(made, scores=tmp_path / "both")
    rename(both, lambda path: baseline_name("2021", path))
    check_read(read_submission("dcase2021", both.scores, made.truth).evaluation, made)
    made.score_file().rename(both.scores / made.score_file().name)
    with pytest.raises(UserError, match=r"fan_section_00_source_test\.csv are about the same clips \(fan 00 source\)"):
        read_submission("dcase2021", both.scores, made.truth)


def test_a_year_in_the_name_that_is_not_the_layouts_is_said(tmp_path: Path) -> None:
    made = make(tmp_path, "dcase2024")
    rename(made, lambda path: baseline_name("2024", path))
    with pytest.raises(UserError, match=r"is not named as a dcase2023 file: use --layout dcase2024$"):
        read_submission("dcase2023", made.scores, made.truth)


def original(clip: Clip) -> str:
    return f"section_{clip.section}_{clip.domain}_test_{('normal', 'anomaly')[clip.label]}_{clip.name[-8:-4]}_spd_1.5"


@pytest.mark.parametrize("layout", ["dcase2023", "dcase2026"])
def test_clips_that_the_baseline_renamed_are_joined_as_the_evaluator_does(tmp_path: Path, layout: str) -> None:
    """The baseline scores copies of the evaluation clips with their labels and attributes in the names."""
    made = make(tmp_path, layout)
    put(made, made.truth / "ground_truth_attributes", "ground_truth", original, "\n")
    renamed = [dataclasses.replace(clip, name=f"{original(clip)}.wav") for clip in made.clips]
    write_scores(dataclasses.replace(made, clips=renamed))
    for where in (made.truth, made.truth / "ground_truth_data"):
        check_read(read_submission(layout, made.scores, where).evaluation, made)
    check_read(read_submission(layout, made.scores, None).development, dataclasses.replace(made, clips=renamed))


def test_clips_of_2020_under_their_original_names_are_found_in_the_list(tmp_path: Path) -> None:
    made = make(tmp_path, "dcase2020")
    renamed = [
        dataclasses.replace(clip, name=f"{('normal', 'anomaly')[clip.label]}_{clip.name}") for clip in made.clips
    ]
    write_scores(dataclasses.replace(made, clips=renamed))
    check_read(read_submission("dcase2020", made.scores, made.truth / "eval_data_list.csv").evaluation, made)


# ---- both halves of one model --------------------------------------------------------------------------------------

EVALUATION_SECTIONS = {("ToyCar", "02"), ("fan", "04"), ("my_pump", "03")}


def both_halves(root: Path, layout: str) -> tuple[Made, Made, Made]:
    """(everything as one submission, its development clips, its evaluation clips, which alone have ground truth)."""
    pairs = zip(make_clips(layout, named_by_label=True), make_clips(layout), strict=True)
    clips = [hidden if (hidden.machine, hidden.section) in EVALUATION_SECTIONS else named for named, hidden in pairs]
    made = Made(layout, root / "scores", root / "truth", clips)
    write_scores(made)
    parts = [
        dataclasses.replace(made, clips=[c for c in clips if ((c.machine, c.section) in EVALUATION_SECTIONS) == hidden])
        for hidden in (False, True)
    ]
    write_truth(parts[1])
    return made, *parts


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_development_by_names_and_evaluation_by_list_out_of_one_folder(tmp_path: Path, layout: str) -> None:
    made, development, evaluation = both_halves(tmp_path, layout)
    found = read_submission(layout, made.scores, made.truth)
    check_read(found.development, development)
    check_read(found.evaluation, evaluation)
    assert found.unlabelled == []


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_by_names_alone_the_evaluation_half_is_left_out_and_named(tmp_path: Path, layout: str) -> None:
    made, development, _ = both_halves(tmp_path, layout)
    found = read_submission(layout, made.scores, None)
    check_read(found.development, development)
    assert found.evaluation == {}
    domains = ["source", "target"] if layout == "dcase2021" else [""]
    assert found.unlabelled == [f"{m} {s} {d}".strip() for m, s in sorted(EVALUATION_SECTIONS) for d in domains]


def test_a_file_with_labelled_and_hidden_names_is_refused(tmp_path: Path) -> None:
    made, _, _ = both_halves(tmp_path, "dcase2020")
    path = made.score_file()
    write_lines(path, [*path.read_text().splitlines(), "id_00_00000099.wav,0.5"])
    with pytest.raises(UserError, match=r"1 names are not of the form .* for fan 00: id_00_00000099\.wav$"):
        read_submission("dcase2020", made.scores, made.truth)
