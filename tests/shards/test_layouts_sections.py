"""The layouts of DCASE from 2021."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from asd.errors import UserError
from shards.layouts import LAYOUTS, find_clips
from shards.layouts.clip import SourceClip
from tests.support.sections import TRAIN, refusal, touch

YEARS_2022 = ("dcase2022", "dcase2023", "dcase2024", "dcase2025", "dcase2026")


def only(layout: str, root: Path, place: str) -> SourceClip:
    (clip,) = find_clips(layout, [touch(root, place)]).clips
    return clip


def facts(clip: SourceClip) -> tuple[str, str, str, int, str, str]:
    return (*clip.machine_class, clip.split, clip.label, clip.domain, clip.attributes)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("train/section_00_source_train_normal_0000_strength_1_ambient.wav",
         ("train", 0, "source", "strength_1_ambient")),
        ("train/section_02_target_train_normal_0002_A1Spd.28V mic,1.wav", ("train", 0, "target", "A1Spd.28V mic,1")),
        ("train/section_05_source_train_normal_1001_.wav", ("train", 0, "source", "")),
        ("train/section_05_source_train_normal_1001.wav", ("train", 0, "source", "")),
        ("train/section_01_source_train_normal_0007_section_02_target_test_anomaly_0001.wav",
         ("train", 0, "source", "section_02_target_test_anomaly_0001")),
        ("source_test/section_01_source_test_normal_0199.wav", ("test", 0, "source", "")),
        ("target_test/section_01_target_test_anomaly_0001.wav", ("test", 1, "target", "")),
        ("source_test/section_03_source_test_0000.wav", ("test", -1, "source", "")),
        ("target_test/section_05_target_test_0285.wav", ("test", -1, "target", "")),
    ],
)  # fmt: skip
def test_names_of_2021(tmp_path, place, expected):
    clip = only("dcase2021", tmp_path, f"gearbox/{place}")
    section = place.split("section_")[1][:2]
    assert facts(clip) == ("gearbox", section, *expected)
    assert clip.file_name == Path(place).name


@pytest.mark.parametrize("layout", YEARS_2022)
@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("train/section_00_source_train_normal_0040_m-n_W.wav", ("train", 0, "source", "m-n_W")),
        ("train/section_00_target_train_normal_0000_car_C2_spd_34V_mic_1.wav",
         ("train", 0, "target", "car_C2_spd_34V_mic_1")),
        ("train/section_00_source_train_normal_0001_ac_0.03_.wav", ("train", 0, "source", "ac_0.03_")),
        ("train/section_00_source_train_normal_0003_spd1000_BckgA.wav", ("train", 0, "source", "spd1000_BckgA")),
        ("train/section_00_source_train_normal_0003_mic_pos_A.wav", ("train", 0, "source", "mic_pos_A")),
        ("train/section_00_source_train_normal_0003_noAttribute.wav", ("train", 0, "source", "")),
        ("train/section_00_source_train_normal_0003_.wav", ("train", 0, "source", "")),
        ("train/section_00_source_train_normal_0003.wav", ("train", 0, "source", "")),
        ("test/section_05_target_test_anomaly_0148_v1pat_04_v2pat_05.wav",
         ("test", 1, "target", "v1pat_04_v2pat_05")),
        ("test/section_04_source_test_normal_0148_pat_05_panel_bs-c.wav",
         ("test", 0, "source", "pat_05_panel_bs-c")),
        ("test/section_05_source_test_normal_0148_id_03.wav", ("test", 0, "source", "id_03")),
        ("test/section_00_source_test_normal_0001_domain_target.wav", ("test", 0, "source", "domain_target")),
        ("test/section_00_0199.wav", ("test", -1, "", "")),
        ("test/section_05_0000.wav", ("test", -1, "", "")),
    ],
)  # fmt: skip
def test_names_from_2022(tmp_path, layout, place, expected):
    clip = only(layout, tmp_path, f"fan/{place}")
    assert facts(clip) == ("fan", place.split("section_")[1][:2], *expected)
    assert clip.file_name == Path(place).name


@pytest.mark.parametrize("parent", ["id_01", "source", "target_test", "anomaly", "section_05_target_test_anomaly_0000"])
def test_parent_folders_change_nothing(tmp_path, parent):
    root = tmp_path / parent / "test"
    clip = only("dcase2023", root, "fan/train/section_00_source_train_normal_0000_m-n_X.wav")
    assert facts(clip) == ("fan", "00", "train", 0, "source", "m-n_X")
    clip = only("dcase2021", tmp_path / parent / "x", "fan/target_test/section_02_target_test_normal_0000.wav")
    assert facts(clip) == ("fan", "02", "test", 0, "target", "")


def test_indices_with_gaps_and_machines_of_any_name(tmp_path):
    names = [f"section_00_source_train_normal_{index:04d}_noAttribute.wav" for index in (1, 2, 7, 989, 9999)]
    touch(tmp_path, *(f"3DPrinter/train/{name}" for name in names), "3DPrinter/test/section_00_0001.wav")
    clips = find_clips("dcase2024", [tmp_path]).clips
    assert Counter((c.machine_type, c.split) for c in clips) == {("3DPrinter", "train"): 5, ("3DPrinter", "test"): 1}
    assert len({c.key for c in clips}) == 6


def test_development_additional_and_evaluation_become_one_set(tmp_path):
    touch(tmp_path / "dev", f"fan/train/{TRAIN}", "fan/test/section_00_target_test_anomaly_0000_vel_3.wav")
    touch(tmp_path / "add", f"bandsaw/train/{TRAIN}")
    touch(tmp_path / "eval", "bandsaw/test/section_00_0000.wav")
    clips = find_clips("dcase2023", [tmp_path / name for name in ("dev", "add", "eval")]).clips
    assert {(*c.machine_class, c.split, c.label) for c in clips} == {
        ("fan", "00", "train", 0),
        ("fan", "00", "test", 1),
        ("bandsaw", "00", "train", 0),
        ("bandsaw", "00", "test", -1),
    }
    assert "two clips would have the key fan-" in refusal("dcase2023", tmp_path / "dev", tmp_path / "dev")


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("dcase2021", "train/section_00_source_train_0000.wav"),
        ("dcase2021", "source_test/section_00_source_test_normal_000.wav"),
        ("dcase2021", "source_test/section_0_source_test_normal_0000.wav"),
        ("dcase2021", "source_test/section_00_Source_test_normal_0000.wav"),
        ("dcase2021", "source_test/section_00_source_test_normal_0000_vel_2.wav"),
        ("dcase2021", "source_test/section_00_0000.wav"),
        ("dcase2022", "train/section_00_0000.wav"),  # only evaluation tests tell nothing
        ("dcase2022", "test/section_00_source_test_0000.wav"),
        ("dcase2022", "test/section_00_source_test_normal_00000_vel_2.wav"),
        ("dcase2022", "test/section_00_0000_vel_2.wav"),
        ("dcase2022", "test/xsection_00_0000.wav"),
    ],
)
def test_other_names_are_refused(tmp_path, layout, name):
    said = refusal(layout, touch(tmp_path, f"fan/{name}"))
    assert said.startswith("1 recordings are not named section_SS_")
    assert f"first: {tmp_path / 'fan' / name}" in said


@pytest.mark.parametrize(
    ("layout", "place"),
    [
        ("dcase2021", "target_test/section_00_source_test_normal_0000.wav"),
        ("dcase2021", "train/section_00_source_test_normal_0000.wav"),
        ("dcase2021", "source_test/section_00_source_train_normal_0000_a.wav"),
        ("dcase2022", "test/section_00_source_train_normal_0000_vel_2.wav"),
        ("dcase2022", "train/section_00_target_test_anomaly_0000_vel_2.wav"),
    ],
)
def test_folder_and_name_must_agree(tmp_path, layout, place):
    assert refusal(layout, touch(tmp_path, f"fan/{place}")).startswith(
        f"1 recordings lie in another folder than their names say, first: {tmp_path / 'fan' / place}"
    )


def test_misplaced_files_are_refused(tmp_path):
    touch(tmp_path, f"fan/train/{TRAIN}", f"fan/tests/{TRAIN}")
    said = refusal("dcase2023", tmp_path)
    assert said.startswith("1 recordings do not lie in <machine type>/train or <machine type>/test, first: ")


def test_labelled_copies_of_the_baseline_are_said(tmp_path):
    touch(tmp_path, f"fan/train/{TRAIN}", "fan/test/section_00_0000.wav")
    touch(tmp_path, "fan/test_rename/section_00_source_test_normal_0000_vel_2.wav")
    said = refusal("dcase2023", tmp_path)
    assert said.startswith("1 recordings lie in test_rename, where the official baseline puts labelled copies of test")
    assert "first: " in said
    assert "put that folder in the place of test" in said


CORPORA = {
    "dcase2020": ["fan/train/normal_id_00_00000000.wav", "fan/test/id_01_00000000.wav"],
    "dcase2021": [f"fan/train/{TRAIN}", "fan/source_test/section_00_source_test_normal_0000.wav"],
    "dcase2022": [f"fan/train/{TRAIN}", "fan/test/section_03_0000.wav"],
    "dcase2025": [f"fan/train/{TRAIN}", "fan/supplemental/section_00_noise_0000.wav"],
    "mimii": ["fan/id_00/normal/00000000.wav", "fan/id_00/abnormal/00000000.wav"],
}


@pytest.mark.parametrize("chosen", [name for name in LAYOUTS if name != "table"])
@pytest.mark.parametrize("fitting", CORPORA)
def test_a_wrong_layout_names_the_one_that_fits(tmp_path, chosen, fitting):
    touch(tmp_path, *CORPORA[fitting])
    family = {"dcase2022": YEARS_2022, "dcase2025": ("dcase2025",)}.get(fitting, (fitting,))
    if chosen in family:
        assert len(find_clips(chosen, [tmp_path]).clips) >= 1
        return
    years = ", by their year" if len(family) > 1 else ""
    assert refusal(chosen, tmp_path).endswith(f"; they fit --layout {' or '.join(family)}{years}")


def test_what_no_layout_knows_is_for_a_table(tmp_path):
    said = refusal("dcase2022", touch(tmp_path, "fan/train/monday.wav"))
    assert said.endswith("; recordings of no known layout can be described in a csv: --layout table")


def test_names_that_are_not_text_are_refused(tmp_path):
    touch(tmp_path, "fan/train/section_00_source_train_normal_0000_\udcff.wav")
    with pytest.raises(UserError, match=r"1 recordings have names or places that are not UTF-8 text"):
        find_clips("dcase2021", [tmp_path])
