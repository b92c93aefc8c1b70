"""The layouts of DCASE 2020 and MIMII."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from asd.errors import UserError
from shards.layouts import Choices, find_clips
from shards.layouts.clip import SourceClip


def dcase2020(sources: list[Path]) -> list[SourceClip]:
    return find_clips("dcase2020", sources).clips


def mimii(sources: list[Path], test_normals: int | None = None, seed: int = 0) -> list[SourceClip]:
    return find_clips("mimii", sources, Choices(test_normals, seed)).clips


def test_dcase2020_names_and_places(corpus):
    clips = dcase2020([corpus])
    assert Counter((c.machine_type, c.machine_id, c.split, c.label) for c in clips) == {
        (machine_type, machine_id, split, label): count
        for machine_type, machine_id in (("fan", "00"), ("fan", "02"), ("pump", "00"))
        for split, label, count in (("train", 0, 4), ("test", 0, 2), ("test", 1, 2))
    }
    first = next(c for c in clips if c.key == "fan-train-normal_id_00_00000000")
    assert first.file_name == "normal_id_00_00000000.wav"
    assert (first.domain, first.attributes) == ("", "")


def test_development_additional_and_evaluation_become_one(corpus, tmp_path, write_wav):
    parent = tmp_path / "all"
    shutil.move(corpus, parent / "dev_data")
    write_wav(parent / "eval_data" / "fan" / "train" / "normal_id_01_00000000.wav")
    write_wav(parent / "eval_data" / "fan" / "test" / "id_01_00000000.wav")
    together = dcase2020([parent])
    assert {c.machine_class for c in together} == {("fan", "00"), ("fan", "01"), ("fan", "02"), ("pump", "00")}
    assert [c.label for c in together if c.machine_id == "01" and c.split == "test"] == [-1]
    apart = dcase2020([parent / "dev_data", parent / "eval_data"])
    assert {c.key for c in apart} == {c.key for c in together}


def test_parent_folders_change_nothing(tmp_path, write_wav):
    root = tmp_path / "id_01" / "test" / "anomaly"
    write_wav(root / "fan" / "train" / "normal_id_03_00000000.wav")
    write_wav(root / "fan" / "test" / "normal_id_03_00000000.wav")
    clips = dcase2020([tmp_path / "id_01"])
    assert sorted((c.machine_type, c.machine_id, c.split, c.label) for c in clips) == [
        ("fan", "03", "test", 0),
        ("fan", "03", "train", 0),
    ]


def test_a_source_may_be_a_machine_or_a_split(corpus):
    assert {c.machine_type for c in dcase2020([corpus / "fan"])} == {"fan"}
    assert {c.split for c in dcase2020([corpus / "pump" / "train"])} == {"train"}


@pytest.mark.parametrize(
    "name",
    [
        "id_00_00000000.wav",  # no label is for evaluation tests
        "normal_id_0_00000000.wav",
        "normal_id_00_0000000.wav",
        "abnormal_id_00_00000000.wav",
        "xnormal_id_00_00000000.wav",
        "normal_id_00_00000000_more.wav",
        "section_00_source_train_normal_0000_strength_1.wav",
    ],
)
def test_other_names_are_refused(corpus, write_wav, name):
    write_wav(corpus / "fan" / "train" / "normal_id_00_00000099.wav").rename(corpus / "fan" / "train" / name)
    with pytest.raises(UserError, match=rf"^1 recordings are not named .*first: .*{name}"):
        dcase2020([corpus])


def test_misplaced_files_are_refused(corpus, write_wav):
    write_wav(corpus / "fan" / "normal_id_00_00000000.wav")
    with pytest.raises(UserError, match=r"1 recordings do not lie in .*fan/normal_id_00"):
        dcase2020([corpus])


def test_what_is_passed_over_is_counted_and_named(corpus, tmp_path):
    train = corpus / "fan" / "train"
    (train / "._normal_id_00_00000000.wav").write_bytes(b"\0")
    for name in ("Thumbs.db", "desktop.ini", "notes.txt", "normal_id_00_00000000.wav~"):
        (train / name).touch()
    found = find_clips("dcase2020", [corpus])
    assert len(found.clips) == 24
    assert found.listed == [
        f"{corpus}: 24 recordings; skipped: 1 hidden (.wav 1; first {train}/._normal_id_00_00000000.wav), "
        f"2 of an operating system (.db 1, .ini 1; first {train}/Thumbs.db), "
        f"2 that are no recordings (.wav~ 1, .txt 1; first {train}/normal_id_00_00000000.wav~)"
    ]


@pytest.mark.parametrize("ending", [".WAV", ".Wav", ".flac", ".aiff", ".m4a", ".mp3", ".ogg", ".w64"])
def test_recordings_with_another_ending_never_vanish(corpus, ending):
    lost = corpus / "fan" / "train" / "normal_id_00_00000000.wav"
    lost = lost.rename(lost.with_suffix(ending))
    with pytest.raises(UserError, match=rf"^1 recordings do not end in \.wav .*first: {lost}; rename those .*ffmpeg"):
        dcase2020([corpus])


def test_linked_folders_are_followed_once(corpus, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "fan").symlink_to(corpus / "fan")
    (corpus / "fan" / "train" / "loop").symlink_to(corpus / "fan")
    found = find_clips("dcase2020", [tmp_path / "links"])
    assert len(found.clips) == 16
    assert "1 links to folders that are listed already (first " in found.listed[0]


def test_empty_and_missing_sources(tmp_path):
    with pytest.raises(UserError, match="holds no recording"):
        dcase2020([tmp_path])
    with pytest.raises(UserError, match="is not a folder"):
        dcase2020([tmp_path / "nowhere"])


def test_a_set_given_twice_names_both_files(corpus, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    for sources in ([corpus, copy], [corpus, corpus], [corpus, corpus / "fan"]):
        with pytest.raises(UserError, match=r"two clips would have the key fan-.*\.wav and .*\.wav"):
            dcase2020(sources)


def test_mimii_draws_its_test_by_seed(mimii_corpus):
    def drawn(seed, count=None):
        return {c.key for c in mimii([mimii_corpus], count, seed) if c.split == "test" and c.label == 0}

    counts = Counter((c.machine_id, c.split, c.label) for c in mimii([mimii_corpus]))
    assert counts == {
        ("00", "train", 0): 2,
        ("00", "test", 0): 3,
        ("00", "test", 1): 3,
        ("02", "train", 0): 1,
        ("02", "test", 0): 1,
        ("02", "test", 1): 4,  # one always stays for training
    }
    assert drawn(0) == drawn(0)
    assert len({frozenset(drawn(seed)) for seed in range(8)}) > 1
    assert len(drawn(0, 1)) == 2
    assert drawn(0, 0) == set()
    with pytest.raises(UserError, match="--test-normals 2 leaves no training clip of fan/02, which has 2"):
        mimii([mimii_corpus], 2)


def test_mimii_names(mimii_corpus):
    clip = next(c for c in mimii([mimii_corpus]) if c.key == "fan-id_00-abnormal-00000001")
    assert (clip.machine_type, clip.machine_id, clip.split, clip.label) == ("fan", "00", "test", 1)
    assert clip.file_name == "id_00/abnormal/00000001.wav"
    (mimii_corpus / "fan" / "id_00" / "normal" / "00000000.wav").rename(mimii_corpus / "fan" / "stray.wav")
    with pytest.raises(UserError, match=r"1 recordings do not lie in .*stray\.wav"):
        mimii([mimii_corpus])
