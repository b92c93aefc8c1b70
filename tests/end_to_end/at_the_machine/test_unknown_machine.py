"""eval.py clips where little is known: which machine it is, whether the room changed, whether it is sound at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

import eval as evaluation
from asd.detector.why import explain_results
from asd.errors import UserError
from tests.end_to_end.at_the_machine.conftest import Workshop
from tests.support.clips import judged
from tests.support.sets import SAMPLE_RATE

FAN = ("--machine", "fan", "--id", "00")


def test_each_recording_is_of_the_nearest_machine(
    statistics: Path, small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = small_set.parent / "recordings"
    for machine_type, machine_id in (("fan", "00"), ("fan", "02"), ("pump", "00"), ("valve", "04")):
        normal = sorted((recordings / machine_type / "test").glob(f"normal_id_{machine_id}_*.wav"))
        found = judged(tmp_path / "out.json", "--detector", statistics, *normal, "--machine", "auto")["clips"]
        assert len(found) == len(normal) > 0
        for clip in found:
            assert (clip["machine_type"], clip["machine_id"]) == (machine_type, machine_id)
            assert clip["remarks"][0].startswith("nearest machine, ")
            assert "standard deviations nearer than" in clip["remarks"][0]
    shown = capsys.readouterr()
    assert "recordings: nearest machine" not in shown.err, "a line for each recording"
    dead = tmp_path / "dead.wav"
    soundfile.write(dead, np.zeros(SAMPLE_RATE, np.int16), SAMPLE_RATE)
    (clip,) = judged(tmp_path / "out.json", "--detector", statistics, dead, "--machine", "auto", code=1)["clips"]
    assert (clip["input"], clip["remarks"]) == ("silent", [])
    with pytest.raises(UserError, match="--machine auto: leave out --id"):
        evaluation.main(["clips", "--detector", str(statistics), str(normal[0]), "--machine", "auto", "--id", "00"])


def test_what_is_gone_before_it_is_explained_keeps_its_score(
    statistics: Path, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted, or replaced by a shorter recording, between the two times that it is read."""
    gone, shorter, stays = sorted(workshop.record("fault", 0.0, count=3, faulty=True).glob("*.wav"))
    normal = soundfile.read(workshop.record("normal", 0.0, count=1) / "00.wav", dtype="int16")[0]
    soundfile.write(shorter, np.concatenate([normal, soundfile.read(shorter, dtype="int16")[0]]), SAMPLE_RATE)

    def afterwards(*given: Any) -> None:
        gone.unlink()
        soundfile.write(shorter, normal, SAMPLE_RATE)
        explain_results(*given)

    monkeypatch.setattr("asd.commands.clips.explain_results", afterwards)
    words = ("--detector", statistics, gone.parent, *FAN, "--explain")
    first, second, third = judged(tmp_path / "out.json", *words)["clips"]
    assert [clip["decision"] for clip in (first, second, third)] == ["anomaly"] * 3, "the mean of both windows, too"
    said = "not explained, since it has changed meanwhile: "
    assert first["remarks"] == [f"{said}No such file or directory"]
    assert second["remarks"] == [f"{said}it has become shorter"]
    assert third["file"] == str(stays)
    assert ("why" in first, "why" in third) == (False, True)


def test_a_changed_room_is_told_from_faults(
    statistics: Path, workshop: Workshop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    normal, fault = workshop.record("normal", 0.0), workshop.record("fault", 0.0, faulty=True)
    louder = workshop.folder / "louder"
    louder.mkdir()
    for path in normal.glob("*.wav"):
        soundfile.write(louder / path.name, 0.4 * soundfile.read(path)[0], SAMPLE_RATE, subtype="PCM_16")
    for folder, changed in ((normal, False), (fault, False), (louder, True)):
        caplog.clear()
        judged(tmp_path / "out.json", "--detector", statistics, folder, *FAN)
        said = [line for line in caplog.messages if "shifted alike" in line]
        assert len(said) == changed, (folder, said)
        assert all(line.startswith("fan/00: 100% of the windows") for line in said)
        assert all("eval.py calibrate" in line for line in said)


def test_what_is_no_sound_is_neither_normal_nor_an_anomaly(
    statistics: Path, workshop: Workshop, tmp_path: Path
) -> None:
    place = workshop.record("normal", 0.0, count=1)
    noise = np.random.default_rng(0).integers(-3000, 3000, SAMPLE_RATE // 10).astype(np.int16)
    soundfile.write(place / "dead.wav", np.zeros(SAMPLE_RATE, np.int16), SAMPLE_RATE)
    soundfile.write(place / "stuck.wav", np.tile(noise, 10), SAMPLE_RATE)
    normal = soundfile.read(place / "00.wav", dtype="int16")[0]
    soundfile.write(place / "half.wav", np.concatenate([normal, np.zeros_like(normal), normal]), SAMPLE_RATE)
    found = judged(tmp_path / "out.json", "--detector", statistics, place, *FAN, code=1)["clips"]
    sound, dead, half, stuck = found
    assert (sound["error"], dead["decision"], stuck["decision"]) == (None, None, None)
    assert dead["error"] == "no sound: every sample is 0: is the microphone connected?"
    assert stuck["error"].startswith("no sound: the same block of samples comes again and again")
    assert (half["windows"], half["error"]) == (2, None)
    assert half["remarks"] == ["1 of 3 windows silent"]
    assert [clip["input"] for clip in found] == ["ok", "silent", "silent", "repeating"]


def test_each_state_of_a_recording_is_told(
    statistics: Path,
    workshop: Workshop,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the names of `listen`, in results, table and a warning; what holds sound is judged all the same."""
    place = workshop.record("normal", 0.0, count=1)
    normal = soundfile.read(place / "00.wav")[0]
    loud = np.clip(20 * normal, -1, 1)
    for name, sound, rate in (
        ("clipped", loud, SAMPLE_RATE),
        ("clipped_44", np.clip(resample_poly(loud, 441, 160), -1, 1), 44_100),
        ("slow", normal[::2], SAMPLE_RATE // 2),
        ("stuck", np.repeat(normal[::4], 4), SAMPLE_RATE),
    ):
        soundfile.write(place / f"{name}.wav", sound, rate, subtype="PCM_16")
    (place / "empty.wav").touch()
    (place / "text.wav").write_text("no sound")
    table = place / "today.csv"
    names = ["00", "clipped", "clipped_44", "empty", "none", "slow", "stuck", "text"]
    table.write_text("path,machine_type,machine_id\n" + "".join(f"{name}.wav,fan,00\n" for name in names))
    found = judged(tmp_path / "out.json", "--detector", statistics, table, code=1)["clips"]
    states = {Path(clip["file"]).stem: clip["input"] for clip in found}
    assert states == {
        "00": "ok", "clipped": "clipped", "clipped_44": "clipped", "empty": "missing", "none": "missing",
        "slow": "wrong_rate", "stuck": "stuck", "text": "unreadable",
    }  # fmt: skip
    assert [clip["decision"] is None for clip in found] == [name in ("empty", "none", "text") for name in states]
    told = [line.partition(": ")[0:3:2] for line in caplog.messages if line.startswith("input ")]
    assert {state.removeprefix("input "): int(of.split()[0]) for state, of in told} == {
        "clipped": 2, "missing": 2, "wrong_rate": 1, "stuck": 1, "unreadable": 1,
    }  # fmt: skip
    capsys.readouterr()
    assert evaluation.main(["clips", "--detector", str(statistics), str(place / "slow.wav"), *FAN]) == 0
    assert "wrong_rate" in capsys.readouterr().out
