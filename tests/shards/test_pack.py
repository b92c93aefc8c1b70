"""Packing recordings into a set."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.data.manifest import Manifest, load_manifest
from asd.data.reader import Reader
from asd.errors import UserError
from shards import verify
from tests.support.packing import assert_nothing_left, pack_dcase, run

Sound = dict[str, np.ndarray]


def sounds(manifest: Manifest) -> Sound:
    """key → samples, through the project's own reader."""
    clips = np.arange(len(manifest))
    rows = np.zeros((len(clips), manifest.frames.max()), dtype=np.int16)
    reader = Reader(manifest)
    frames, valid = reader.read(clips, np.zeros(len(clips), dtype=np.int64), rows)
    reader.close()
    assert valid.all()
    return {key: row[:n] for key, row, n in zip(manifest.strings("key"), rows, frames, strict=True)}


@pytest.mark.parametrize("codec", ["pcm16", "flac"])
def test_pack(corpus, tmp_path, capsys, codec):
    manifest = pack_dcase(corpus, tmp_path / "set", "--codec", codec)
    assert [str(c) for c in manifest.classes] == ["fan/00", "fan/02", "pump/00"]
    assert len(manifest) == 24
    assert manifest.file.name == "set"
    packed = sounds(manifest)
    for path in corpus.rglob("*.wav"):
        key = f"{path.parent.parent.name}-{path.parent.name}-{path.stem}"
        np.testing.assert_array_equal(packed[key], soundfile.read(path, dtype="int16")[0])
    assert {shard.file for shard in manifest.file.shards} == {"train-000000.tar", "test-000000.tar"}
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        *("clips.parquet", "manifest.json", "test-000000.tar", "train-000000.tar")
    ]
    shown = capsys.readouterr().out
    assert "3 CLASSES: fan/00 02, pump/00" in shown
    assert f"python -m shards.verify {tmp_path / 'set'}" in shown


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves closing tars to the garbage collector
def test_plain_webdataset_reads_the_same(corpus, tmp_path):
    import webdataset

    manifest = pack_dcase(corpus, tmp_path / "set")
    urls = [str(tmp_path / "set" / shard.file) for shard in manifest.file.shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == manifest.strings("key")
    assert [sample["json"]["label"] for sample in samples] == manifest.label.tolist()
    packed = sounds(manifest)
    for sample in samples:
        audio, rate = soundfile.read(io.BytesIO(sample["wav"]), dtype="int16")
        assert rate == sample["json"]["sample_rate"] == 16_000
        np.testing.assert_array_equal(audio, packed[sample["__key__"]])


def test_shards_are_bounded_and_the_same_whatever_the_workers(corpus, tmp_path, write_wav):
    for number in range(10, 50):
        write_wav(corpus / "fan" / "train" / f"normal_id_00_{number:08d}.wav", samples=48_000)
    one = pack_dcase(corpus, tmp_path / "one" / "set", "--shard-mib", 1, "--workers", 1)
    two = pack_dcase(corpus, tmp_path / "two" / "set", "--shard-mib", 1, "--workers", 2)
    assert len(one.file.shards) == 5
    assert all(shard.bytes <= 1 << 20 for shard in one.file.shards)
    for path in (tmp_path / "one" / "set").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "set" / path.name).read_bytes(), path.name
    other = pack_dcase(corpus, tmp_path / "other" / "set", "--shard-mib", 1, "--seed", 1)
    assert other.fingerprint != one.fingerprint == two.fingerprint
    assert sorted(other.strings("key")) == sorted(one.strings("key"))
    order = other.strings("key", other.select("train"))
    assert order != one.strings("key", one.select("train")) != sorted(order)


def test_mimii(mimii_corpus, tmp_path):
    first = mimii_corpus / "fan" / "id_00" / "abnormal" / "00000001.wav"
    sound = soundfile.read(first, dtype="int16")[0]
    for channel, expected in (("3", sound[:, 3]), ("average", np.rint(sound.mean(axis=1)))):
        out = tmp_path / channel
        run("--layout", "mimii", "--source", mimii_corpus, "--out", out, "--channel", channel, "--test-normals", 1)
        manifest = load_manifest(out)
        assert verify.verify(manifest) == []
        np.testing.assert_array_equal(sounds(manifest)["fan-id_00-abnormal-00000001"], expected)
        assert len(manifest.select("train")) == 5
        assert set(manifest.column("channels")) == {1}
    assert manifest.file.notes["channels_averaged"] == 14


def test_table_and_resampling(tmp_path, write_wav):
    write_wav(tmp_path / "in" / "a.wav", 4410, rate=44_100, subtype="PCM_24")
    write_wav(tmp_path / "in" / "b.wav", 1600)
    (tmp_path / "in" / "clips.csv").write_text(
        "path,machine_type,machine_id,split,label,domain,attributes\n"
        "a.wav,pump,A,train,normal,source,speed 3\nb.wav,pump,A,test,anomaly,target,\n"
    )
    arguments = ("--layout", "table", "--source", tmp_path / "in" / "clips.csv", "--out", tmp_path / "set")
    with pytest.raises(UserError, match="1 of 2 recordings are not at 16000 Hz"):
        run(*arguments)
    assert_nothing_left(tmp_path / "set")
    run(*arguments, "--resample")
    manifest = load_manifest(tmp_path / "set")
    assert verify.verify(manifest) == []
    assert manifest.frames.tolist() == [1600, 1600]
    assert manifest.strings("domain") == ["source", "target"]
    assert manifest.strings("attributes") == ["speed 3", ""]
    assert manifest.file.notes == {"seed": 0, "resampled": 1, "to_pcm16": 1}


def test_skip_bad_counts_in_the_notes(corpus, tmp_path, write_wav, capsys):
    train = corpus / "fan" / "train"
    (train / "normal_id_00_00000000.wav").write_bytes(b"")
    (train / "normal_id_00_00000001.wav").write_bytes(b"not a wav file at all")
    write_wav(train / "normal_id_02_00000000.wav", channels=2)
    broken = train / "normal_id_02_00000001.wav"
    broken.write_bytes(broken.read_bytes()[:-1])
    soundfile.write(train / "normal_id_02_00000002.wav", np.array([np.inf, 0.0]), 16_000, subtype="FLOAT")
    manifest = pack_dcase(corpus, tmp_path / "set", "--skip-bad")
    assert len(manifest) == 19
    skipped = {name: count for name, count in manifest.file.notes.items() if name.startswith("skipped")}
    assert skipped == {
        "skipped_zero_length": 1,
        "skipped_unreadable": 2,
        "skipped_channels": 1,
        "skipped_truncated": 1,
    }
    assert "skipped truncated" in capsys.readouterr().out


def test_what_breaks_while_decoding_leaves_nothing(corpus, tmp_path):
    bad = corpus / "fan" / "train" / "normal_id_02_00000002.wav"
    soundfile.write(bad, np.array([np.inf, 0.0]), 16_000, subtype="FLOAT")
    for workers in (1, 2):
        with pytest.raises(UserError, match=f"{bad}: it contains non-finite samples; .*--skip-bad"):
            pack_dcase(corpus, tmp_path / "set", "--workers", workers)
        assert_nothing_left(tmp_path / "set")


def test_real_machines(real_machines, tmp_path):
    manifest = pack_dcase(real_machines, tmp_path / "set")
    assert [str(c) for c in manifest.classes] == ["bldc/01", "bldc/02", "bldc/03", "fan/00"]
    assert (len(manifest.select("train")), len(manifest.select("test"))) == (90, 130)


@pytest.mark.parametrize("channel", ["0", "average"])
def test_mimii_8ch(mimii_8ch, tmp_path, channel):
    run("--layout", "mimii", "--source", mimii_8ch, "--out", tmp_path / "set", "--channel", channel)
    manifest = load_manifest(tmp_path / "set")
    assert verify.verify(manifest) == []
    assert manifest.frames.tolist() == [160_000] * 4
    with pytest.raises(UserError, match=r"4 of 4 recordings have other channels than one.*--channel"):
        run("--layout", "mimii", "--source", mimii_8ch, "--out", tmp_path / "other")


def test_json_members_hold_text_of_any_alphabet(tmp_path, write_wav):
    write_wav(tmp_path / "녹음" / "오전 1.wav")
    (tmp_path / "c.csv").write_text(
        "path,machine_type,machine_id,split,label\n녹음/오전 1.wav,펌프,1호기,train,0\n", encoding="utf-8"
    )
    run("--layout", "table", "--source", tmp_path / "c.csv", "--out", tmp_path / "set #1?")
    manifest = load_manifest(tmp_path / "set #1?")
    assert verify.verify(manifest) == []
    assert str(manifest.classes[0]) == "펌프/1호기"
    assert json.loads((tmp_path / "set #1?" / "manifest.json").read_text())["classes"][0]["machine_type"] == "펌프"


def test_real_clips_of_2023(dcase2023_clips, tmp_path):
    run("--layout", "dcase2023", "--source", dcase2023_clips, "--out", tmp_path / "set")
    manifest = load_manifest(tmp_path / "set")
    assert verify.verify(manifest) == []
    assert manifest.file.layout == "dcase2023"
    assert [str(c) for c in manifest.classes] == [
        f"{machine_type}/00" for machine_type in ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")
    ]
    for name, frames in zip(manifest.strings("file_name"), manifest.frames, strict=True):
        (path,) = dcase2023_clips.rglob(name)
        assert frames == soundfile.info(path).frames  # 10 and 12 s: of the header, not of the year
    assert set(manifest.frames // 16_000) == {10, 12}
    assert set(manifest.strings("domain")) == {"source", "target"}
    assert "m-n_W" in manifest.strings("attributes")


def evaluation_set(tmp_path: Path, write_wav, channels: int = 1) -> Path:
    """Two machines of an evaluation set, with supplemental recordings."""
    root = tmp_path / "eval"
    for machine in ("AutoTrash", "Polisher"):
        write_wav(root / machine / "train" / "section_00_source_train_normal_0000_noAttribute.wav", channels=channels)
        write_wav(root / machine / "supplemental" / "section_00_noise_0000.wav", channels=channels)
        for number in range(2):
            write_wav(root / machine / "test" / f"section_00_000{number}.wav", channels=channels)
    return root


def test_evaluation_set_with_ground_truth(tmp_path, write_wav, capsys):
    root = evaluation_set(tmp_path, write_wav)
    for folder in ("ground_truth_data", "ground_truth_domain"):
        (tmp_path / folder).mkdir()
        text = "section_00_0001.wav,1\nsection_00_0000.wav,0\n"
        (tmp_path / folder / "ground_truth_AutoTrash_section_00_test.csv").write_text(text)
    words = ("--layout", "dcase2025", "--source", root, "--out", tmp_path / "set")
    truth = [f"--ground-truth={tmp_path / folder}" for folder in ("ground_truth_data", "ground_truth_domain")]
    run(*words, *truth)
    shown = capsys.readouterr().out
    assert "warning: 2 supplemental recordings (" in shown
    assert "ground truth: 2 labels for 1 machines" in shown
    assert "warning: 2 clips have no ground truth and stay unlabelled, those of Polisher/00" in shown
    assert "only unlabelled test clips, so no AUC: Polisher/00" in shown
    manifest = load_manifest(tmp_path / "set")
    assert verify.verify(manifest) == []
    assert manifest.file.notes == {"seed": 0, "supplemental_left_out": 2, "labels_joined": 2}
    columns = [manifest.strings(name) for name in ("machine_type", "file_name", "domain")]
    found = {(t, n): (d, label) for t, n, d, label in zip(*columns, manifest.label, strict=True) if "train" not in n}
    assert found == {
        ("AutoTrash", "section_00_0000.wav"): ("source", 0),
        ("AutoTrash", "section_00_0001.wav"): ("target", 1),
        ("Polisher", "section_00_0000.wav"): ("", -1),
        ("Polisher", "section_00_0001.wav"): ("", -1),
    }
    run(*words, "--overwrite")
    assert set(load_manifest(tmp_path / "set").label) == {0, -1}


def test_evaluation_machines_need_their_training_clips(tmp_path, write_wav):
    root = evaluation_set(tmp_path, write_wav)
    shutil.rmtree(root / "Polisher" / "train")
    with pytest.raises(UserError, match=r"no normal training clip: Polisher/00 \(2 clips\); add the folder with their"):
        run("--layout", "dcase2025", "--source", root, "--out", tmp_path / "set")


def test_stereo_of_2026_needs_a_choice(tmp_path, write_wav):
    root = evaluation_set(tmp_path, write_wav, channels=2)
    for machine in ("AutoTrash", "Polisher"):
        shutil.rmtree(root / machine / "supplemental")
    words = ("--layout", "dcase2026", "--source", root, "--out", tmp_path / "set")
    with pytest.raises(UserError, match=r"6 of 6 recordings have other channels than one.*choose --channel N"):
        run(*words)
    for channel in (0, 1):
        run(*words, "--channel", channel, "--overwrite")
        manifest = load_manifest(tmp_path / "set")
        packed = sounds(manifest)["AutoTrash-test-section_00_0001"]
        path = root / "AutoTrash" / "test" / "section_00_0001.wav"
        np.testing.assert_array_equal(packed, soundfile.read(path, dtype="int16")[0][:, channel])
