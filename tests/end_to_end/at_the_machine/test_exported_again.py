"""A calibrated detector as ONNX: its bank, thresholds and ignored bands, checked without the run that it comes from."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import eval as evaluation
from asd.detector import read_detector
from asd.detector.imitation import imitation
from asd.detector.picture import in_decibels, picture_of
from asd.errors import UserError
from tests.end_to_end.at_the_machine.conftest import Workshop
from tests.support.clips import exported, judged
from tests.support.sets import SAMPLE_RATE

EXAMPLE = Path(__file__).parents[3] / "examples" / "onnx_detector.py"
FAN = ("--machine", "fan", "--id", "00")
needs_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are optional and not installed",
)


def run(*words: object) -> None:
    assert evaluation.main([*map(str, words)]) == 0


@needs_packages
def test_a_calibrated_detector_gives_the_same_scores(
    statistics: Path, workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One machine with a hum that it shall not hear, and a new one: the example says what eval.py clips says."""
    out, onnx = tmp_path / "d.pt", tmp_path / "d.onnx"
    normal, hums = workshop.record("normal", 0.5), workshop.record("hums", 0.5, hum=0.3)
    keep = ("--scorer", "fused", "--scorer", "untrained_knn")
    run("calibrate", "--detector", statistics, normal, *FAN, *keep, "--ignore-bands", "1350-1650", "--out", out)
    run("calibrate", "--detector", out, workshop.record("new", 6.0), "--machine", "press", "--id", "7", "--out", out)
    capsys.readouterr()
    run("export", "--detector", out, "--onnx", onnx)
    said = capsys.readouterr().out
    assert re.search(r"checked on \d\d imitations of the normal recordings .*: the same decisions, scores within", said)
    run("export", "--detector", out, "--onnx", onnx, "--scorer", "fused", "--check-on", hums, *FAN)
    assert re.search(r"checked on 12 recordings: the same decisions, scores within", capsys.readouterr().out)
    for machine, recordings in (("fan/00", hums), ("fan/00", normal), ("press/7", tmp_path / "new")):
        files = sorted(recordings.glob("*.wav"))
        words = [sys.executable, str(EXAMPLE), str(onnx), machine, *map(str, files)]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        kind, number = machine.split("/")
        expected = judged(tmp_path / "out.json", "--detector", out, *files, "--machine", kind, "--id", number)
        for line, clip in zip(lines, expected["clips"], strict=True):
            found = re.fullmatch(r"(.*): fused (\S+), (\S+) \(threshold (\S+)\)", line)
            assert found is not None
            assert (found[1], found[3]) == (clip["file"], clip["decision"])
            np.testing.assert_allclose(float(found[2]), clip["score"], rtol=2e-4, atol=2e-4)
            assert float(found[4]) == pytest.approx(expected["threshold"], rel=1e-4)


@needs_packages
def test_it_is_checked_on_recordings_that_its_bank_holds(
    statistics: Path, workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neighbours of these are themselves, at a distance that is 0 but for rounding; what is silent is left out."""
    out, onnx, normal = tmp_path / "d.pt", tmp_path / "d.onnx", workshop.record("normal", 0.5)
    run("calibrate", "--detector", statistics, normal, *FAN, "--scorer", "untrained_knn", "--out", out)
    soundfile.write(normal / "dead.wav", np.zeros(SAMPLE_RATE, np.int16), SAMPLE_RATE)
    run("export", "--detector", out, "--onnx", onnx, "--check-on", normal, *FAN)
    said = capsys.readouterr().out
    assert "checked on 12 recordings; 1 shorter than a window or without sound left out: the same decisions" in said
    before = onnx.read_bytes()
    with pytest.raises(UserError, match="no recording has sound for a window of 1 s: nothing to check an export on"):
        run("export", "--detector", out, "--onnx", onnx, "--check-on", normal / "dead.wav", *FAN)
    with pytest.raises(UserError, match=r"d\.md: the audio header cannot be read"):
        run("export", "--detector", out, "--onnx", onnx, "--check-on", normal, tmp_path / "d.md", *FAN)
    assert onnx.read_bytes() == before
    assert [path.suffix for path in sorted(tmp_path.glob("d.*"))] == [".md", ".onnx", ".pt"]


@needs_packages
def test_a_new_machine_beside_a_network_that_tells_the_others_apart(
    tmp_path_factory: pytest.TempPathFactory, small_set: Path, workshop: Workshop, tmp_path: Path
) -> None:
    detector, out = exported(small_set, tmp_path_factory.mktemp("network"), "weighs"), tmp_path / "d.pt"
    new = ("--machine", "press", "--id", "7")
    keep = ("--scorer", "knn_network", "--scorer", "untrained_knn")
    run("calibrate", "--detector", detector, workshop.record("new", 6.0), *new, *keep, "--out", out)
    run("export", "--detector", out, "--onnx", tmp_path / "d.onnx")


@needs_packages
def test_another_file_is_not_written_over(statistics: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "d.onnx"
    foreign.write_bytes(b"somebody else's")
    with pytest.raises(UserError, match=r"d\.onnx is another file than a detector in this format: name a new one"):
        run("export", "--detector", statistics, "--scorer", "fused", "--onnx", foreign)
    assert foreign.read_bytes() == b"somebody else's"
    one = ("--onnx", tmp_path / "e.onnx", "--onnx-int8", tmp_path / "e.onnx")
    with pytest.raises(UserError, match="--onnx, --onnx-int8: name a file for each, not one for all"):
        run("export", "--detector", statistics, "--scorer", "fused", *one)


@needs_packages
def test_the_example_decides_nothing_without_sound(statistics: Path, workshop: Workshop, tmp_path: Path) -> None:
    onnx, good = tmp_path / "d.onnx", workshop.record("good", 0.0, count=1) / "00.wav"
    run("export", "--detector", statistics, "--scorer", "untrained_knn", "--onnx", onnx)
    for name, level in (("silent", 0), ("constant", 77)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(SAMPLE_RATE, level, np.int16), SAMPLE_RATE)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "odd.wav").write_bytes(good.read_bytes()[:-1])

    def example(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, EXAMPLE, *map(str, words)], capture_output=True, text=True)

    names = ("silent", "constant", "empty", "odd")
    done = example(onnx, "fan/00", good, *(tmp_path / f"{name}.wav" for name in names))
    said = [line.removeprefix(f"{tmp_path}/").partition(": ") for line in done.stderr.splitlines()]
    assert [(name, words[:8]) for name, _, words in said] == [
        ("silent.wav", "no sound"), ("constant.wav", "no sound"), ("empty.wav", "it is no"), ("odd.wav", "it has 1")
    ]  # fmt: skip
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    for other in (statistics, tmp_path / "none.onnx"):
        done = example(other, "fan/00", good)
        assert done.returncode == 1
        assert done.stderr.startswith(f"{other} is no detector of eval.py export --onnx: ")


def test_an_imitation_has_the_levels_of_its_picture(workshop: Workshop, statistics: Path) -> None:
    """But for the scatter of noise in bands of few bins, which is a few decibels."""
    picture = read_detector(statistics).normals[0].picture(0)
    sound = imitation(picture, 16_000, 16_000, np.random.default_rng(0))
    flat, (low, high) = picture_of(sound, 16_000)
    difference = in_decibels(flat, low, high).mean(1) - picture.mean(1)
    assert float(difference.abs().median()) < 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--detector: name what shall be written of it"),
        (["--out", "e.pt"], "--out is for --run: a detector is written as it is"),
        (["--false-alarms", "1/day"], "--false-alarms is for --run"),
        (["--onnx", "d.onnx", "a.b=c"], "a.b=c is for --run"),
        (["--onnx", "d.txt"], r"--onnx d\.txt: name a file that ends in \.onnx"),
        (["--onnx", "d.onnx", "--scorer", "lof"], "the detector has no scorer lof: it has fused"),
        (["--onnx", "d.onnx", "--machine", "fan"], "--machine: it is of the recordings of --check-on"),
    ],
)
def test_words_that_do_not_fit_are_refused(
    words: list[str], said: str, statistics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        evaluation.main(["export", "--detector", str(statistics), *words])
    assert not list(tmp_path.iterdir())


def test_words_of_a_detector_are_refused_for_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--check-on is for --detector: a run is checked on its test clips"):
        evaluation.main(["export", "--run", str(tmp_path), "--out", str(tmp_path / "d.pt"), "--check-on", "x.wav"])
    with pytest.raises(UserError, match="--run: name the detector that shall be written"):
        evaluation.main(["export", "--run", str(tmp_path)])


def test_without_normal_recordings_others_are_asked_for(statistics: Path, tmp_path: Path) -> None:
    run("export", "--run", statistics.parent / "run", "--out", tmp_path / "d.pt", "--normals", "0", "--scorer", "fused")
    with pytest.raises(UserError, match=r"keeps no normal recordings of fan/00.*: name others by --check-on"):
        evaluation.main(["export", "--detector", str(tmp_path / "d.pt"), "--onnx", str(tmp_path / "d.onnx")])
