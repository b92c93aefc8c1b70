"""Long recordings become clips of one length, sample for sample, and a table that packing takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import UserError
from shards import cut
from shards.layouts.clip import Choices
from shards.layouts.table import read_tables


def table(folder: Path, rows: list[tuple[str, ...]]) -> Path:
    """A csv of recordings with a domain."""
    path = folder / "recordings.csv"
    header = ("path", "machine_type", "machine_id", "split", "label", "domain")
    path.write_text("\n".join(",".join(row) for row in (header, *rows)) + "\n")
    return path


@pytest.mark.parametrize(("subtype", "kind"), [("PCM_16", "int16"), ("PCM_24", "int32"), ("FLOAT", "float32")])
def test_clips_are_the_recording_in_pieces(tmp_path: Path, subtype: str, kind: str) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (25_000, 2))
    soundfile.write(tmp_path / "a.wav", sound, 8_000, subtype)
    soundfile.write(tmp_path / "b.wav", sound[:9_000, 0], 8_000, subtype)
    source = table(
        tmp_path, [("a.wav", "pump", "1", "train", "normal", "source"), ("b.wav", "pump", "1", "test", "1", "")]
    )
    assert cut.main(["--source", str(source), "--seconds", "1", "--out", str(tmp_path / "out")]) == 0
    clips = read_tables([tmp_path / "out" / "clips.csv"], Choices()).clips
    assert [(c.split, c.label, c.domain) for c in clips] == [("train", 0, "source")] * 3 + [("test", 1, "")]
    assert [c.recording for c in clips] == [c.key for c in read_tables([source], Choices()).clips for _ in range(3)][:4]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*(c.path.name for c in clips), "clips.csv"])
    whole, rate = soundfile.read(tmp_path / "a.wav", dtype=kind, always_2d=True)
    pieces = [soundfile.read(clip.path, dtype=kind, always_2d=True)[0] for clip in clips[:3]]
    np.testing.assert_array_equal(np.concatenate(pieces), whole[: 3 * rate])
    assert soundfile.info(clips[0].path).subtype == subtype


def test_clips_of_a_named_recording_keep_its_name(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(17_000), 8_000, "PCM_16")
    (tmp_path / "recordings.csv").write_text(
        "path,machine_type,machine_id,split,label,recording\n"
        "a.wav,pump,1,train,normal,monday\nb.wav,pump,1,train,normal,monday\n"
    )
    words = ["--source", str(tmp_path / "recordings.csv"), "--seconds", "1", "--out", str(tmp_path / "out")]
    assert cut.main(words) == 0
    clips = read_tables([tmp_path / "out" / "clips.csv"], Choices()).clips
    assert [c.recording for c in clips] == ["monday"] * 4


def three_lengths(folder: Path) -> Path:
    """2.5 s, 0.75 s (the only anomaly), 0.99 s (the only one of its machine)."""
    for name, samples in (("monday", 20_000), ("worn", 6_000), ("other", 7_920)):
        sound = np.random.default_rng(samples).integers(-9000, 9000, samples, dtype=np.int16)
        soundfile.write(folder / f"{name}.wav", sound, 8_000)
    rows = [("monday.wav", "pump", "1", "train", "normal", ""), ("worn.wav", "pump", "1", "test", "anomaly", "")]
    return table(folder, [*rows, ("other.wav", "pump", "2", "train", "normal", "")])


def test_recordings_shorter_than_a_clip_are_kept_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = three_lengths(tmp_path)
    assert cut.main(["--source", str(source), "--seconds", "1", "--out", str(tmp_path / "out")]) == 0
    clips = read_tables([tmp_path / "out" / "clips.csv"], Choices()).clips
    assert [(c.machine_id, c.label, soundfile.info(c.path).frames) for c in clips] == [
        *(("1", 0, 8_000), ("1", 0, 8_000), ("1", 1, 6_000), ("2", 0, 7_920))
    ]
    np.testing.assert_array_equal(soundfile.read(clips[2].path)[0], soundfile.read(tmp_path / "worn.wav")[0])
    said, worn = capsys.readouterr().out, tmp_path / "worn.wav"
    assert f"warning: 2 recordings are shorter and were kept as they are, first: {worn} (0.8 s)" in said
    assert "the ends of 1 recordings are shorter than a clip and were left out, 0.5 s in all, first: " in said
    assert f"{tmp_path / 'monday.wav'} (0.5 s)" in said


def test_recordings_shorter_than_a_clip_are_refused_on_request(tmp_path: Path) -> None:
    source = three_lengths(tmp_path)
    said = (
        rf"^2 of 3 recordings are shorter than --seconds 1, first: {tmp_path / 'worn.wav'} \(0\.8 s\); .*--short keep"
    )
    with pytest.raises(UserError, match=said):
        cut.main(["--source", str(source), "--seconds", "1", "--short", "refuse", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_cut_leaves_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(4_000), 8_000, "PCM_16")
    (tmp_path / "b.wav").write_text("no sound")
    for name, said in (("a.wav", "no recording is 1 s long"), ("b.wav", "b.wav cannot be cut")):
        source = table(tmp_path, [(name, "pump", "1", "train", "normal", "")])
        with pytest.raises(UserError, match=said):
            cut.main(["--source", str(source), "--seconds", "1", "--out", str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(UserError, match="exists and is not a packed set"):
        cut.main(["--source", str(source), "--out", str(tmp_path / "out")])
