"""The organisers' ground truth of every year, wherever its files lie, and what is no ground truth."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asd.dcase.ground_truth import Clip, read_ground_truth
from asd.errors import UserError
from tests.support.official_files import ALL_LAYOUTS, Made, file_name, make, write_lines


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


def truth_2023(root: Path, machine: str = "bandsaw", data: str = "", domain: str = "") -> Path:
    return write(
        root,
        {
            f"ground_truth_data/ground_truth_{machine}_section_00_test.csv": data
            or "section_00_0002.wav,1\nsection_00_0001.wav,0\nsection_00_0005.wav,1\n",
            f"ground_truth_domain/ground_truth_{machine}_section_00_test.csv": domain
            or "section_00_0001.wav,0\nsection_00_0005.wav,0\nsection_00_0002.wav,1\n",
            f"ground_truth_attributes/ground_truth_{machine}_section_00_test.csv": "section_00_0001.wav,vel_1\n",
            "teams/x/anomaly_score_bandsaw_section_00_test.csv": "section_00_0001.wav,0.5\n",
        },
    )


def truth_of(made: Made) -> dict[Clip, tuple[int, str]]:
    return {
        (c.machine, c.section, c.name): (c.label, "" if made.layout == "dcase2020" else c.domain) for c in made.clips
    }


def refused(complaint: str, *places: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        read_ground_truth(places)


# ---- where it lies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_every_year_is_read(tmp_path, layout, line_end):
    made = make(tmp_path, layout, line_end=line_end)
    assert read_ground_truth([made.truth]) == truth_of(made)


@pytest.mark.parametrize("layout", ["dcase2021", "dcase2023"])
def test_it_is_found_in_the_folder_below_it_or_at_it(tmp_path, layout):
    made = make(tmp_path / "evaluator" / "repo", layout)
    attributes = made.truth / "ground_truth_attributes"
    attributes.mkdir()
    (attributes / file_name("ground_truth", layout, "fan", "00", "source")).write_text("a.wav,b\n")
    for where in (made.truth, tmp_path / "evaluator", made.truth / "ground_truth_data"):
        assert read_ground_truth([where]) == truth_of(made)
    refused("holds neither", attributes)


def test_label_files_may_lie_without_their_folder(tmp_path):
    made = make(tmp_path, "dcase2021")
    (made.truth / "ground_truth_data").rename(made.truth / "unpacked")
    assert read_ground_truth([made.truth]) == truth_of(made)
    later = make(tmp_path / "later", "dcase2024")
    for path in (later.truth / "ground_truth_data").iterdir():
        path.rename(later.truth / path.name)
    assert read_ground_truth([later.truth]) == truth_of(later)


def test_the_list_of_2020_is_a_file_of_any_name_or_in_a_folder(tmp_path):
    made = make(tmp_path / "a", "dcase2020")
    renamed = tmp_path / "any name.csv"
    shutil.copy(made.truth / "eval_data_list.csv", renamed)
    for where in (made.truth / "eval_data_list.csv", renamed, made.truth, tmp_path / "a"):
        assert read_ground_truth([where]) == truth_of(made)


def test_several_places_add_up_and_one_given_twice_counts_once(tmp_path):
    made, old = make(tmp_path / "a", "dcase2022"), make(tmp_path / "b", "dcase2020")
    files = sorted(made.truth.glob("*/*.csv"))
    assert read_ground_truth([*files, old.truth, made.truth, old.truth]) == truth_of(made) | truth_of(old)


def test_places_that_hold_none(tmp_path):
    made = make(tmp_path / "a", "dcase2023")
    refused(r"--ground-truth .*x does not exist", made.truth / "x")
    refused(r"--ground-truth .*scores holds neither eval_data_list\.csv nor ground_truth_<type>_section", made.scores)
    refused(r"line 1: .* is neither a machine type nor .* from 2021 on is named ground_truth_<type>", made.score_file())
    (made.truth / "ground_truth_fan.csv").write_text("a.wav,1\n")
    refused(r"ground_truth_fan\.csv, line 1: 'a\.wav,1' is neither .* from 2021 on is named", made.truth)


# ---- files that contradict each other ------------------------------------------------------------------------------


def test_two_ground_truths_are_not_chosen_from(tmp_path):
    for name in ("a", "b"):
        make(tmp_path / "new" / name, "dcase2023")
    refused(r"b/truth/.*: ToyCar/01/section_01_\d+\.wav has ground truth already, in .*a/truth", tmp_path / "new")
    old = make(tmp_path / "old", "dcase2020")
    shutil.copytree(old.truth, old.truth / "copy")
    refused(r"eval_data_list\.csv: ToyCar/01/id_01_\d+\.wav has ground truth already, in ", old.truth)


@pytest.mark.parametrize("folder", ["ground_truth_data", "ground_truth_domain"])
def test_labels_need_domains_and_domains_labels(tmp_path, folder):
    truth_2023(tmp_path)
    [file] = (tmp_path / folder).iterdir()
    alone = "a label and no domain" if folder == "ground_truth_data" else "a domain and no label"
    complaint = (
        rf"3 clips have {alone}, the first in .*{folder}/ground_truth_bandsaw_.*: bandsaw/00/section_00_0001\.wav"
    )
    refused(rf"{complaint}, .*; from 2022 on ground_truth_data and ground_truth_domain are needed", file)


def test_a_file_without_its_counterpart_is_named(tmp_path):
    made = make(tmp_path, "dcase2022")
    domains = made.truth / "ground_truth_domain"
    (domains / "ground_truth_fan_section_02_test.csv").unlink()
    refused(r"no domain, the first in .*ground_truth_data/ground_truth_fan_section_02_test\.csv: fan/02/", made.truth)
    shutil.rmtree(domains)
    refused(rf"{len(made.clips)} clips have a label and no domain", made.truth / "ground_truth_data")


@pytest.mark.parametrize("part", ["ground_truth_data", "ground_truth_domain"])
def test_labels_and_domains_of_different_clips(tmp_path, part):
    made = make(tmp_path, "dcase2022")
    path = made.truth / part / "ground_truth_fan_section_00_test.csv"
    first, *others = path.read_text().splitlines()
    write_lines(path, others)
    refused(
        rf"^1 clips have a .*/ground_truth_fan_section_00_test\.csv: fan/00/{first.split(',')[0]}; from", made.truth
    )


# ---- lines that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["data", "domain"])
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("section_00_0001.wav", ", line 2: 1 fields instead of a file name and a number"),
        ("section_00_0001.wav,2", ", line 2: '2' is neither 0 nor 1"),
        ("section_00_0001.wav,normal", ", line 2: 'normal' is neither 0 nor 1"),
        ("section_00_0001.wav,0,1", ", line 2: 3 fields instead"),
        ('"section', ", line 2: 1 fields instead"),
        ("section_00_0002.wav,0", r": 1 file names have more than one row: section_00_0002\.wav"),
    ],
)
def test_lines_that_are_none(tmp_path, part, line, complaint):
    truth_2023(tmp_path, **{part: f"section_00_0002.wav,0\n{line}\n"})
    refused(rf"ground_truth_{part}/ground_truth_bandsaw_section_00_test\.csv{complaint}", tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id_01_00000000.wav,normal_id_01_00000064.wav,0\n", ", line 1: .* is neither a machine type nor `id_II_N"),
        ("fan\nid_01_00000000.wav\n", ", line 2: 'id_01_00000000.wav' is neither"),
        ("fan\nid_01_00000000.wav,0\n", ", line 2: .* is neither"),
        ("fan\nsection_00_0000.wav,section_00_source_test_normal_0000.wav,0\n", ", line 2: 'section_.* is neither"),
        ("fan\nid_01_00000000.wav,x,normal\n", ", line 2: 'normal' is neither 0 nor 1"),
        (
            "fan\nid_01_00000000.wav,x,0\nid_01_00000000.wav,y,1\n",
            ": 1 file names have more than one row: fan/01/id_01",
        ),
        ("fan\n", " lists no clip"),
        ("", " is empty"),
        ("fan\nid_01_00000000.wav,\udcff,0\n", " is not a csv text file"),
    ],
)
def test_lists_of_2020_that_are_none(tmp_path, text, complaint):
    (tmp_path / "eval_data_list.csv").write_bytes(text.encode(errors="surrogateescape"))
    refused(rf"eval_data_list\.csv{complaint}", tmp_path)


def test_empty_fields_and_lines_of_a_spreadsheet_do_no_harm(tmp_path):
    made = make(tmp_path, "dcase2020")
    path = made.truth / "eval_data_list.csv"
    path.write_text(path.read_text().replace("fan\n", ",,\nfan,,\n", 1))
    assert read_ground_truth([made.truth]) == truth_of(made)
