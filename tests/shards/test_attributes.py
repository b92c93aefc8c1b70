"""Attributes, supplemental recordings and real clips from 2022."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from asd.errors import UserError
from shards.layouts import find_clips
from shards.layouts.clip import Corpus
from tests.support.sections import TRAIN, refusal, touch


def with_csv(root: Path, names: list[str], text: str, section: str = "00") -> Corpus:
    touch(root, *(f"fan/{name}" for name in names))
    (root / "fan" / f"attributes_{section}.csv").write_text(text, encoding="utf-8")
    return find_clips("dcase2022", [root])


def test_pairs_come_from_the_attributes_csv(tmp_path):
    names = [
        "train/section_00_source_train_normal_0000_ac_0.03.wav",
        "train/section_00_source_train_normal_0001_mic_pos_A_vel_21.wav",
        "train/section_00_source_train_normal_0002_noAttribute.wav",
        "train/section_00_target_train_normal_0000_noAttribute.wav",
        "test/section_00_target_test_anomaly_0000_m-n_W.wav",
        "train/section_01_source_train_normal_0000_spd_2.wav",  # of a section without a csv
    ]
    corpus = with_csv(
        tmp_path,
        names,
        "\ufefffile_name,d1p,d1v,d2p,d2v\r\n"
        "fan/train/section_00_source_train_normal_0000_ac_0.03.wav,ac,0.03.wav,,\r\n"  # with folder; a leaked .wav
        "section_00_source_train_normal_0001_mic_pos_A_vel_21,mic_pos,A,vel,21\r\n"  # without .wav
        "section_00_source_train_normal_0002_noAttribute.wav,noAttribute\r\n"
        "section_00_target_train_normal_0000_noAttribute.wav\r\n"
        "fan/test/section_00_target_test_anomaly_0000_m-n_W.wav,m-n,W\r\n"
        "fan/test/section_00_target_test_anomaly_0001_m-n_X.wav,m-n,X\r\n",  # a clip that was not downloaded
    )
    assert {c.file_name: c.attributes for c in corpus.clips} == dict(
        zip((Path(name).name for name in names), ["ac=0.03", "mic_pos=A,vel=21", "", "", "m-n=W", "spd_2"], strict=True)
    )
    assert (corpus.remarks, corpus.notes) == ([], {})


def test_clips_missing_in_the_csv_are_said(tmp_path):
    names = [f"train/section_00_source_train_normal_000{i}_vel_{i}.wav" for i in range(3)]
    corpus = with_csv(tmp_path, [*names, "test/section_00_0000.wav"], "file_name,d1p,d1v\n" + f"{names[0]},vel,0\n")
    assert {c.attributes for c in corpus.clips} == {"vel=0", "vel_1", "vel_2", ""}
    assert corpus.notes == {"attributes_from_name": 2}
    (remark,) = corpus.remarks
    assert remark.startswith(
        "warning: 2 clips are missing from the attributes csv of their machine and take the attributes "
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "attributes_00.csv:1: the first line must begin with file_name"),
        ("name,d1p,d1v\n", "attributes_00.csv:1: the first line must begin with file_name"),
        ("file_name\na.wav,vel,1\na.wav,vel,1\n", "attributes_00.csv:3: a is listed twice"),
        ("file_name\na\na\n", "attributes_00.csv:3: a is listed twice"),
        ("file_name\na,vel,1\nfan/train/a.wav,vel,2\n", "attributes_00.csv:3: a is listed twice"),
    ],
)
def test_a_csv_that_is_none(tmp_path, text, said):
    with pytest.raises(UserError) as caught:
        with_csv(tmp_path, [f"train/{TRAIN}"], text)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["section_00_noise_0000.wav", "section_00_machine_0001_noAttribute.wav", "x.wav"])
def test_supplemental_recordings_of_2025_are_left_out_and_said(tmp_path, name):
    touch(tmp_path, f"AutoTrash/train/{TRAIN}", f"AutoTrash/supplemental/{name}", "AutoTrash/test/section_00_0000.wav")
    corpus = find_clips("dcase2025", [tmp_path])
    assert [c.split for c in corpus.clips] == ["test", "train"]
    assert corpus.notes == {"supplemental_left_out": 1}
    (remark,) = corpus.remarks
    assert remark.startswith("warning: 1 supplemental recordings (")
    assert remark.endswith(f"are left out, first: {tmp_path / 'AutoTrash' / 'supplemental' / name}")
    said = refusal("dcase2025", tmp_path / "AutoTrash" / "supplemental")
    assert said.startswith("none of the recordings is for training or test: warning: 1 supplemental")
    assert refusal("dcase2024", tmp_path).endswith("; they fit --layout dcase2025")


def test_real_clips_of_2023(dcase2023_clips):
    clips = find_clips("dcase2023", [dcase2023_clips]).clips
    assert Counter((c.machine_type, c.split) for c in clips) == {
        (machine_type, split): 2
        for machine_type in ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")
        for split in ("train", "test")
    }
    assert {c.machine_id for c in clips} == {"00"}
    assert Counter((c.split, c.domain, c.label) for c in clips) == {
        ("train", "source", 0): 14,
        ("test", "source", 0): 5,
        ("test", "source", 1): 1,
        ("test", "target", 0): 4,
        ("test", "target", 1): 4,
    }
    attributes = {(c.machine_type, c.file_name[-12:]): c.attributes for c in clips}
    assert attributes["fan", "0022_m-n_W.wav"[-12:]] == "m-n_W"
    assert {c.attributes for c in clips if c.machine_type == "slider"} == {
        "vel_730_ac_0.11",
        "vel_620_ac_0.08",
        "vel_500_ac_0.30",
        "vel_490_ac_0.05",
    }
    for clip in clips:  # the name can be put together again
        label = ("normal", "anomaly")[clip.label]
        start, _, rest = clip.file_name.partition(f"_{clip.domain}_{clip.split}_{label}_")
        assert (start, rest[4:]) == ("section_00", f"_{clip.attributes}.wav")
