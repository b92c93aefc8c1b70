"""What the scan finds before anything is written, and what it refuses."""

from __future__ import annotations

import shutil
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.audio.header import BadFileError, read_header
from asd.audio.recording import Target, read_pcm16
from asd.audio.wav import canonical_header
from asd.data.config import DataConfig
from asd.errors import UserError
from shards import report
from shards.layouts import find_clips
from shards.layouts.clip import Corpus
from shards.scan import check_unfit, scan
from tests.shards.conftest import noise

TARGET = Target(16_000)


def dcase2020(sources: list[Path]) -> Corpus:
    return find_clips("dcase2020", sources)


def bad_kind(path: Path) -> str:
    with pytest.raises(BadFileError) as caught:
        read_header(path)
    return caught.value.kind


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "PCM_U8", "ULAW"])
@pytest.mark.parametrize("channels", [1, 3])
def test_headers_agree_with_libsndfile(tmp_path, write_wav, subtype, channels):
    path = write_wav(tmp_path / "a.wav", 777, channels, 22_050, subtype)
    info, header = soundfile.info(path), read_header(path)
    assert (header.rate, header.channels, header.frames) == (info.samplerate, info.channels, info.frames)
    assert header.subtype == info.subtype == subtype
    assert (header.data_offset >= 0) == (subtype == "PCM_16")


def test_chunks_before_and_after_the_samples(tmp_path):
    sound = noise("x", 500)[:, 0]
    plain = canonical_header(1000, 16_000)
    junk = struct.pack("<4sI", b"LIST", 5) + b"12345\0"  # odd lengths are padded
    path = tmp_path / "a.wav"
    path.write_bytes(plain[:36] + junk + plain[36:] + sound.tobytes() + junk)
    header = read_header(path)
    assert (header.frames, header.data_offset) == (500, 44 + len(junk))
    np.testing.assert_array_equal(read_pcm16(path, header, TARGET)[0], sound)


def test_bad_files(tmp_path, write_wav):
    path = write_wav(tmp_path / "a.wav")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    assert bad_kind(path) == "truncated"
    path.write_bytes(whole[:30])
    assert bad_kind(path) == "truncated"
    path.write_bytes(b"")
    assert bad_kind(path) == "zero-length"
    path.write_bytes(canonical_header(0, 16_000))
    assert bad_kind(path) == "zero-length"
    path.write_bytes(b"this is not audio at all" * 10)
    assert bad_kind(path) == "unreadable"
    path.unlink()
    assert bad_kind(path) == "unreadable"
    for subtype in ("PCM_24", "FLOAT"):
        path.write_bytes(write_wav(tmp_path / "b.wav", subtype=subtype).read_bytes()[:-100])
        assert bad_kind(path) == "truncated"


def test_what_only_decoding_shows(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise("x", 20_000), 16_000)
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(BadFileError):
        read_pcm16(path, header, TARGET)
    path = tmp_path / "b.wav"
    soundfile.write(path, np.array([0.0, np.nan, 0.5]), 16_000, subtype="FLOAT")
    with pytest.raises(BadFileError, match="non-finite"):
        read_pcm16(path, read_header(path), TARGET)


def test_more_than_16_bits_are_rounded_and_clipped(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([0.0, 0.5, -1.0, 1.5, 0.4 / 32768, 0.6 / 32768]), 16_000, subtype="FLOAT")
    samples, done = read_pcm16(path, read_header(path), TARGET)
    assert samples.tolist() == [0, 16384, -32768, 32767, 0, 1]
    assert (done.to_pcm16, done.clipped_samples) == (1, 1)


def test_channels_and_rates(tmp_path, write_wav):
    path = write_wav(tmp_path / "a.wav", 800, channels=3, rate=8000)
    sound, header = soundfile.read(path, dtype="int16")[0], read_header(path)
    same_rate = {"sample_rate": 8000}
    for channel in range(3):
        picked, done = read_pcm16(path, header, Target(channel=channel, **same_rate))
        np.testing.assert_array_equal(picked, sound[:, channel])
        assert done.channel_chosen == 1
    average, done = read_pcm16(path, header, Target(channel="average", **same_rate))
    np.testing.assert_array_equal(average, np.rint(sound.astype(float).mean(axis=1)))
    assert done.channels_averaged == 1


@pytest.mark.parametrize(
    ("rate", "samples"), [(8000, 801), (44_100, 4410), (48_000, 1601), (48_828, 4883), (41_667, 4167)]
)
def test_resampling_keeps_a_tone(tmp_path, write_wav, rate, samples):
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(samples) / rate)
    path = write_wav(tmp_path / "a.wav", rate=rate, sound=tone)
    header = read_header(path)
    new, done = read_pcm16(path, header, TARGET)
    assert len(new) == TARGET.frames(header) == -(-samples * 16_000 // rate)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(len(new)) / 16_000)
    assert np.abs(new[100:-100] / 32768 - expected[100:-100]).max() < 0.01
    assert done.resampled == 1


def test_resampling_folds_nothing_back(tmp_path, write_wav):
    """10 kHz at 48,828 Hz would be heard at 6 kHz."""
    tone = 0.5 * np.sin(2 * np.pi * 10_000 * np.arange(48_828) / 48_828)
    path = write_wav(tmp_path / "a.wav", rate=48_828, sound=tone)
    new, _ = read_pcm16(path, read_header(path), TARGET)
    assert len(new) == 16_000
    assert np.abs(new[200:-200]).max() < 0.5 * 32768 / 300  # 50 dB


def test_recordings_of_one_other_rate_may_stay_as_they_are(tmp_path, write_wav):
    write_wav(tmp_path / "fan" / "train" / "normal_id_00_00000000.wav", rate=48_828)
    said = refusal(tmp_path)
    assert "1 of 1 recordings are not at 16000 Hz (48828 Hz: 1), first: " in said
    assert said.endswith("; add --resample (brings all to 16000 Hz) or --sample-rate 48828 (as they are)")
    check_unfit(scan(dcase2020([tmp_path]), Target(48_828)), Target(48_828), resample=False, skip_bad=False)


def test_names_that_look_alike_are_said(corpus, write_wav, capsys):
    for name in ("Fan", "L\u00fcfter", "Lu\u0308fter"):
        write_wav(corpus / name / "train" / "normal_id_00_00000000.wav")
    report.print_scan(scan(dcase2020([corpus]), TARGET))
    shown = capsys.readouterr().out
    assert "warning: Fan/00 and fan/00 differ in case or accent encoding alone" in shown
    assert "warning: Lu\u0308fter/00 and L\u00fcfter/00 differ" in shown


def test_lengths_and_what_training_makes_of_them(tmp_path, write_wav, capsys):
    assert DataConfig().crop_s == report.CROP_S
    train = tmp_path / "fan" / "train"
    for number, seconds in enumerate((12, 10)):
        write_wav(train / f"normal_id_00_0000000{number}.wav", samples=seconds * 16_000)
    report.print_scan(scan(dcase2020([tmp_path]), TARGET))
    shown = capsys.readouterr().out
    assert (
        "warning: training recordings last 10.000 to 12.000 s: a part of those longer than data.crop_s is drawn"
        in shown
    )
    write_wav(train / "normal_id_00_00000002.wav", samples=5 * 16_000)
    report.print_scan(scan(dcase2020([tmp_path]), TARGET))
    shown = capsys.readouterr().out
    assert (
        "warning: 1 of 3 training recordings are shorter than data.crop_s (10 s unless set; all: 5.000 to 12.000 s)"
        in shown
    )
    assert f"first: {train / 'normal_id_00_00000002.wav'}: training repeats them to fill a crop" in shown


def test_duplicates_and_leaks(corpus, capsys):
    train, test = corpus / "fan" / "train", corpus / "fan" / "test"
    shutil.copy(train / "normal_id_00_00000000.wav", train / "normal_id_00_00000001.wav")
    shutil.copy(train / "normal_id_00_00000000.wav", test / "anomaly_id_00_00000000.wav")
    found = scan(dcase2020([corpus]), TARGET)
    assert {(a.path.name, b.path.name) for a, b in found.duplicates} == {
        ("anomaly_id_00_00000000.wav", "normal_id_00_00000000.wav"),
        ("anomaly_id_00_00000000.wav", "normal_id_00_00000001.wav"),
    }
    assert len(found.leaking) == 2
    report.print_scan(found)
    shown = capsys.readouterr().out
    assert "2 recordings repeat another one" in shown
    assert "2 of these are in both training and test" in shown


def test_equal_middles_are_no_duplicates(corpus, write_wav):
    for number in (0, 1):
        sound = np.zeros(20_000, dtype=np.int16)
        sound[number] = 1
        write_wav(corpus / "fan" / "train" / f"normal_id_00_0000000{number}.wav", sound=sound)
    assert scan(dcase2020([corpus]), TARGET).duplicates == []


def test_report_says_what_is_there(corpus, write_wav, capsys):
    write_wav(corpus / "valve" / "train" / "normal_id_04_00000000.wav", samples=32_000)
    report.print_scan(scan(dcase2020([corpus]), TARGET))
    shown = capsys.readouterr().out
    assert "fan/00" in shown
    assert "sample rates: 16000 Hz (25)" in shown
    assert "lengths: 0.100 s (24), 2.000 s (1)" in shown
    assert "24 recordings are shorter than 1 s" in shown
    assert "1 classes have no test clip, so no AUC: valve/04" in shown


def refusal(corpus: Path, target: Target = TARGET, resample: bool = False, skip_bad: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        check_unfit(scan(dcase2020([corpus]), target), target, resample, skip_bad)
    return str(caught.value)


def test_refusals_say_what_where_and_what_to_do(corpus, write_wav):
    odd = corpus / "fan" / "train" / "normal_id_00_00000000.wav"
    write_wav(odd, rate=8000)
    assert "1 of 24 recordings are not at 16000 Hz (8000 Hz: 1), first: " in (said := refusal(corpus))
    assert str(odd) in said
    assert said.endswith("; add --resample (brings all to 16000 Hz)")
    check_unfit(scan(dcase2020([corpus]), TARGET), TARGET, resample=True, skip_bad=False)
    write_wav(odd, channels=2)
    assert "have other channels than one" in (said := refusal(corpus))
    assert "--channel" in said
    write_wav(odd)
    said = refusal(corpus, Target(16_000, channel=2))
    assert said.startswith("24 of 24 recordings have no channel 2, first: ")
    assert "it has 1 channel, numbered from 0; choose another --channel" in said
    odd.write_bytes(odd.read_bytes()[:-10])
    assert f"1 of 24 recordings are truncated, first: {odd}: its header says 3200 bytes" in refusal(corpus)


def test_classes_need_training_clips(corpus, write_wav):
    write_wav(corpus / "fan" / "test" / "id_05_00000000.wav")
    said = refusal(corpus)
    assert "1 classes have no normal training clip: fan/05 (1 clips)" in said
    assert "--source" in said


def test_a_machine_needs_more_than_known_faults(corpus, write_wav):
    write_wav(corpus / "fan" / "train" / "anomaly_id_05_00000000.wav")
    assert "1 classes have no normal training clip: fan/05 (1 clips)" in refusal(corpus)


@pytest.mark.parametrize("copies", ["test", "train and test"])
def test_the_test_holds_no_known_fault(corpus, copies):
    """Also where it looks like a repeat of another training clip."""
    tested = next((corpus / "fan" / "test").glob("anomaly_*"))
    told = corpus / "fan" / "train" / "anomaly_id_00_00000099.wav"
    shutil.copy(tested, told)
    if copies == "train and test":
        shutil.copy(tested, corpus / "fan" / "train" / "normal_id_00_00000098.wav")
    said = refusal(corpus)
    assert f"{told} is a known fault of training, and {tested} of the test is the same sound" in said
    tested.unlink()
    check_unfit(scan(dcase2020([corpus]), TARGET), TARGET, resample=False, skip_bad=False)


def test_training_clips_are_labelled(corpus):
    clips = [replace(clip, label=-1) if clip.split == "train" else clip for clip in dcase2020([corpus]).clips]
    with pytest.raises(UserError, match=r"12 training clips have no label, first: .*or known faults: move"):
        check_unfit(scan(Corpus(clips), TARGET), TARGET, resample=False, skip_bad=False)


def test_skipping_may_not_leave_a_class_untrained(corpus):
    for path in (corpus / "pump" / "train").iterdir():
        path.write_bytes(b"")
    assert "pump/00 (4 clips)" in refusal(corpus, skip_bad=True)
    for path in corpus.rglob("*.wav"):
        path.write_bytes(b"")
    assert "none of the 24 recordings can be packed" in refusal(corpus, skip_bad=True)


def test_skipped_are_counted_by_kind(corpus, write_wav):
    train = corpus / "fan" / "train"
    (train / "normal_id_00_00000000.wav").write_bytes(b"")
    (train / "normal_id_00_00000001.wav").write_bytes(b"RIFF1234WAVE")
    write_wav(train / "normal_id_00_00000002.wav", channels=2)
    found = scan(dcase2020([corpus]), TARGET)
    assert Counter(bad.error.kind for bad in found.bad) == {"zero-length": 1, "truncated": 1, "channels": 1}
    check_unfit(found, TARGET, resample=False, skip_bad=True)


def test_classes_without_an_auc_are_named(corpus, write_wav, capsys):
    for path in (corpus / "fan" / "test").glob("anomaly_id_00_*"):
        path.unlink()
    for path in (corpus / "pump" / "test").glob("normal_*"):
        path.unlink()
    for name in ("train/normal_id_03_00000000.wav", "test/id_03_00000000.wav"):
        write_wav(corpus / "fan" / name)
    report.print_scan(scan(dcase2020([corpus]), TARGET))
    shown = capsys.readouterr().out
    assert "warning: 1 classes have only normal test clips, so no AUC: fan/00" in shown
    assert "warning: 1 classes have only anomalous test clips, so no AUC: pump/00" in shown
    assert "warning: 1 classes have only unlabelled test clips, so no AUC: fan/03" in shown
    assert "AUC: fan/02" not in shown
