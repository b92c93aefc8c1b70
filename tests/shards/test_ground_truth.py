"""Labels of evaluation sets, joined by file name from files as the official evaluators keep them."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.errors import UserError
from shards.ground_truth import join_ground_truth
from shards.layouts import find_clips
from shards.layouts.clip import Corpus
from tests.dcase.test_ground_truth_files import truth_2023, write
from tests.shards.test_layouts_sections import touch

TRAIN = "section_{}_source_train_normal_0000_a.wav"


@pytest.fixture
def corpus_2023(tmp_path: Path) -> Corpus:
    """bandsaw and grinder with evaluation clips 1, 2 and 5; fan of the development set."""
    root = touch(
        tmp_path / "recordings",
        *(f"{machine}/train/{TRAIN.format('00')}" for machine in ("bandsaw", "grinder", "fan")),
        *(f"{machine}/test/section_00_000{n}.wav" for machine in ("bandsaw", "grinder") for n in (1, 2, 5)),
        "fan/test/section_00_target_test_anomaly_0000_m-n_W.wav",
    )
    return find_clips("dcase2023", [root])


def labels(corpus: Corpus, machine_type: str) -> dict[str, tuple[int, str]]:
    tests = [clip for clip in corpus.clips if clip.machine_type == machine_type and clip.split == "test"]
    return {clip.file_name: (clip.label, clip.domain) for clip in tests}


def refusal(corpus: Corpus, *places: Path) -> str:
    with pytest.raises(UserError) as caught:
        join_ground_truth(corpus, places)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_and_domains_of_2023_by_name(corpus_2023, tmp_path):
    joined = join_ground_truth(corpus_2023, [truth_2023(tmp_path / "evaluator")])
    assert labels(joined, "bandsaw") == {
        "section_00_0001.wav": (0, "source"),
        "section_00_0002.wav": (1, "target"),
        "section_00_0005.wav": (1, "source"),
    }
    assert set(labels(joined, "grinder").values()) == {(-1, "")}
    assert labels(joined, "fan") == {"section_00_target_test_anomaly_0000_m-n_W.wav": (1, "target")}
    assert joined.notes == {"labels_joined": 3}
    assert joined.remarks == [
        "ground truth: 3 labels for 1 machines",
        "warning: 3 clips have no ground truth and stay unlabelled, those of grinder/00",
    ]


def test_files_instead_of_folders_and_machines_that_are_not_here(corpus_2023, tmp_path):
    truth_2023(tmp_path / "one")
    truth_2023(tmp_path / "two", "grinder")
    truth_2023(tmp_path / "three", "shaker")
    files = list((tmp_path / "one").glob("ground_truth_[d]*/*.csv"))
    assert len(files) == 2
    joined = join_ground_truth(corpus_2023, [*files, tmp_path / "two", tmp_path / "three", tmp_path / "three"])
    assert -1 not in {clip.label for clip in joined.clips}
    assert joined.notes == {"labels_joined": 6}
    assert joined.remarks[1:] == ["warning: ground truth of 1 machines without an unlabelled clip here: shaker/00"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_of_2021_with_a_file_for_each_domain(tmp_path, end):
    root = touch(
        tmp_path / "recordings",
        f"pump/train/{TRAIN.format('03')}",
        *(f"pump/{domain}_test/section_03_{domain}_test_000{n}.wav" for domain in ("source", "target") for n in (0, 1)),
    )
    lines = {domain: [f"section_03_{domain}_test_000{n}.wav,{n}" for n in (1, 0)] for domain in ("source", "target")}
    folder = write(
        tmp_path / "truth",
        {
            f"ground_truth_data/ground_truth_pump_section_03_{domain}_test.csv": end.join(rows) + end
            for domain, rows in lines.items()
        },
    )
    joined = join_ground_truth(find_clips("dcase2021", [root]), [folder])
    assert labels(joined, "pump") == {
        f"section_03_{domain}_test_000{n}.wav": (n, domain) for domain in ("source", "target") for n in (0, 1)
    }
    exchanged = folder / "ground_truth_data" / "ground_truth_pump_section_03_target_test.csv"
    exchanged.write_text((folder / "ground_truth_data" / "ground_truth_pump_section_03_source_test.csv").read_text())
    assert "section_03_source_test_0001.wav has ground truth already" in refusal(
        find_clips("dcase2021", [root]), folder
    )
    (folder / "ground_truth_data" / "ground_truth_pump_section_03_source_test.csv").unlink()
    said = refusal(find_clips("dcase2021", [root]), folder)
    assert "2 unlabelled test clips are not in the ground truth of their machine: pump/03/section_03_target_" in said


def test_a_domain_against_the_name_is_refused(tmp_path):
    root = touch(tmp_path / "recordings", f"pump/train/{TRAIN.format('03')}")
    touch(root, "pump/source_test/section_03_source_test_0000.wav")
    name = "ground_truth_data/ground_truth_pump_section_03_target_test.csv"
    folder = write(tmp_path / "truth", {name: "section_03_source_test_0000.wav,1\n"})
    said = refusal(find_clips("dcase2021", [root]), folder)
    assert said.endswith("section_03_source_test_0000.wav into the domain 'target', its name into 'source'")


def test_the_list_of_2020_has_blocks_of_machine_types(tmp_path):
    names = {"fan": ("01", "03"), "ToyCar": ("05",)}
    root = touch(
        tmp_path / "recordings",
        *(f"{machine}/train/normal_id_{i}_00000000.wav" for machine, ids in names.items() for i in ids),
        *(f"{machine}/test/id_{i}_0000000{n}.wav" for machine, ids in names.items() for i in ids for n in (0, 1)),
        "fan/test/anomaly_id_00_00000000.wav",
        "fan/train/normal_id_00_00000000.wav",
    )
    folder = write(
        tmp_path / "truth",
        {
            "eval_data_list.csv": "fan\r\n"
            "id_01_00000001.wav,anomaly_id_01_00000098.wav,1\r\nid_01_00000000.wav,normal_id_01_00000064.wav,0\r\n"
            "id_03_00000000.wav,normal_id_03_00000001.wav,0\r\nid_03_00000001.wav,anomaly_id_03_00000001.wav,1\r\n"
            "\r\nToyCar\r\n"
            "id_05_00000000.wav,anomaly_id_05_00000000.wav,1\r\nid_05_00000001.wav,normal_id_05_00000000.wav,0\r\n"
            "valve\r\nid_01_00000000.wav,normal_id_01_00000064.wav,0\r\n"
        },
    )
    joined = join_ground_truth(find_clips("dcase2020", [root]), [folder / "eval_data_list.csv"])
    assert labels(joined, "fan") == {
        "id_01_00000000.wav": (0, ""),
        "id_01_00000001.wav": (1, ""),
        "id_03_00000000.wav": (0, ""),
        "id_03_00000001.wav": (1, ""),
        "anomaly_id_00_00000000.wav": (1, ""),
    }
    assert labels(joined, "ToyCar") == {"id_05_00000000.wav": (1, ""), "id_05_00000001.wav": (0, "")}
    assert joined.remarks[1:] == ["warning: ground truth of 1 machines without an unlabelled clip here: valve/01"]


def test_missing_and_unknown_names_are_named(corpus_2023, tmp_path):
    short = "section_00_0001.wav,0\nsection_00_0005.wav,1\n"
    said = refusal(corpus_2023, truth_2023(tmp_path / "short", data=short, domain=short))
    assert said.startswith(
        "1 unlabelled test clips are not in the ground truth of their machine: bandsaw/00/section_00_0002.wav; "
    )
    long = "".join(f"section_00_000{n}.wav,0\n" for n in (*range(9),))
    said = refusal(corpus_2023, truth_2023(tmp_path / "long", data=long, domain=long))
    names = ", ".join(f"bandsaw/00/section_00_000{n}.wav" for n in (0, 3, 4))
    assert said.startswith(f"6 names in the ground truth are no unlabelled test clips: {names} and 3 more; ")


def test_ground_truth_of_another_year(corpus_2023, tmp_path):
    said = refusal(corpus_2023, truth_2023(tmp_path, "AutoTrash"))
    assert said.startswith(
        "the ground truth is of AutoTrash/00, for which these recordings have no unlabelled test clip"
    )
