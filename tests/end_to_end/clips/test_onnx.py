"""An exported ONNX gives the detector's scores and decisions, without this project and without torch."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import eval as evaluation
from asd.detector import read_detector
from asd.errors import UserError
from asd.files.checksum import sha256_of
from tests.support.clips import SYSTEMS, judged, make_run

EXAMPLE = Path(__file__).parents[3] / "examples" / "onnx_detector.py"
needs_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are optional and not installed",
)


@pytest.fixture(scope="module")
def weighs(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a network with statistics beside it, and both in one scorer; clips of 1 s."""
    return make_run(small_set, tmp_path_factory.mktemp("weighs") / "run", "weighs")


@pytest.fixture(scope="module")
def written(weighs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of d.pt and d.onnx with two scorers of it."""
    folder = tmp_path_factory.mktemp("written")
    export(weighs, folder, "--scorer", "fused", "--scorer", "softmax")
    return folder


def export(run: Path, folder: Path, *words: str) -> Path:
    out = folder / "d.onnx"
    assert (
        evaluation.main(["export", "--run", str(run), "--out", str(folder / "d.pt"), "--onnx", str(out), *words]) == 0
    )
    return out


@needs_packages
@pytest.mark.parametrize("system", [name for name in SYSTEMS if name != "weighs"])
def test_every_system_is_the_same(
    system: str, uneven_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever can be written: the export itself compares all scores of the test clips, and keeps nothing else."""
    run = make_run(uneven_set, tmp_path / "run", system)
    words = [word for name in SYSTEMS[system][0] if name != "lof" for word in ("--scorer", name)]
    export(run, tmp_path, *words)
    said = capsys.readouterr().out
    assert re.search(r"checked on \d+ test clips.*: the same decisions, scores within \d\S+ of their spread", said), (
        said
    )


@needs_packages
def test_it_runs_without_torch(written: Path, small_set: Path, tmp_path: Path) -> None:
    """The example prints the scores and decisions of eval.py clips, where importing torch is an error."""
    file = read_detector(written / "d.pt")
    machine = next(own for own in file.classes if own.machine_type == "pump")
    recordings = sorted((small_set.parent / "recordings" / "pump" / "test").glob("*.wav"))
    joined = tmp_path / "long.wav"
    soundfile.write(joined, np.concatenate([soundfile.read(r, dtype="int16")[0] for r in recordings])[:42_000], 16_000)
    recordings.append(joined)
    blocked = "import sys, runpy; sys.modules |= dict.fromkeys(['torch', 'asd', 'scipy', 'soundfile']); "
    words = [str(written / "d.onnx"), str(machine), *map(str, recordings), "no.wav"]
    run = f"{blocked}sys.argv[1:] = {words!r}; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", run], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "no.wav: [Errno 2] No such file or directory: 'no.wav'\n")
    expected = judged(tmp_path / "out.json", "--detector", written / "d.pt", *recordings, "--machine", "pump")
    said = [re.fullmatch(r"(.*): fused (\S+), (\S+) \(threshold (\S+)\)", line) for line in done.stdout.splitlines()]
    assert [clip["windows"] for clip in expected["clips"]] == [1] * (len(recordings) - 1) + [3]
    for line, clip in zip(said, expected["clips"], strict=True):
        assert line is not None
        assert (line[1], line[3]) == (clip["file"], clip["decision"])
        np.testing.assert_allclose(float(line[2]), clip["score"], rtol=2e-4)
        assert float(line[4]) == pytest.approx(expected["threshold"], rel=1e-4)


@needs_packages
def test_it_says_what_it_is(written: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(written / "d.onnx", providers=["CPUExecutionProvider"])
    about, file = session.get_modelmeta().custom_metadata_map, read_detector(written / "d.pt")
    assert {put.name: (put.shape, put.type) for put in session.get_inputs()} == {
        "waveform": ([1, 16_000], "tensor(int16)"), "machine": ([1], "tensor(int64)")
    }  # fmt: skip
    assert [put.name for put in session.get_outputs()] == ["scores", "thresholds", "decisions", "embedding", "logits"]
    assert json.loads(about["scorers"]) == ["fused", "softmax"]
    assert json.loads(about["classes"]) == [[own.machine_type, own.machine_id] for own in file.classes]
    assert (about["sample_rate"], about["window_samples"]) == ("16000", "16000")
    rules = json.loads(about["threshold_rules"])
    assert [rule["name"] for rule in rules] == ["gamma"] * len(file.classes)
    assert about["detector_sha256"] == sha256_of(written / "d.pt")
    assert json.loads(about["versions"])["torch"]
    given = {"waveform": np.zeros((1, 16_000), np.int16), "machine": np.array([1])}
    scores, thresholds, decisions = session.run(["scores", "thresholds", "decisions"], given)
    assert thresholds.tolist() == [scorer.thresholds[1] for scorer in file.scorers]
    assert decisions.tolist() == (scores > thresholds).tolist()


@needs_packages
def test_other_scores_are_not_kept(weighs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file that gives other scores nothing is left but the detector and its card."""
    from asd.detector.traced import TracedDetector

    whole = TracedDetector.forward

    def off(self: TracedDetector, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scores, *others = whole(self, *given)
        return scores + 1e-2, *others

    monkeypatch.setattr(TracedDetector, "forward", off)
    with pytest.raises(UserError, match=r"a score of .* differs from the detector's by .* more than 0\.0001: not kept"):
        export(weighs, tmp_path, "--scorer", "softmax")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.md", "d.pt"]


@needs_packages
def test_eight_bits_say_what_they_cost(weighs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small.onnx"
    words = ["--run", str(weighs), "--out", str(tmp_path / "d.pt"), "--onnx-int8", str(small), "--scorer", "fused"]
    assert evaluation.main(["export", *words]) == 0
    said = capsys.readouterr().out
    size, before = map(float, re.search(r"small.onnx: (\S+) MiB \((\S+) in 32 bits\)", said).groups())  # type: ignore[union-attr]
    assert size < before
    assert re.search(r"AUC \d+\.\d\d % \(\d+\.\d\d in 32 bits, fused\), \d+ of \d+ windows are decided otherwise", said)


@needs_packages
def test_eight_bits_of_no_network_are_refused_before_any_work(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = make_run(small_set, tmp_path / "run", "measures"), tmp_path / "out"
    out.mkdir()
    assert evaluation.main(["export", "--run", str(run), "--out", str(tmp_path / "d.pt")]) == 0
    words = ["export", "--scorer", "untrained_knn", "--onnx-int8", str(out / "d.onnx")]
    monkeypatch.setattr("asd.commands.export.CheckpointEmbedder", lambda *_, **__: pytest.fail("clips are embedded"))
    monkeypatch.setattr("asd.detector.formats.onnx_int8.write_model", lambda *_: pytest.fail("it is written"))
    for source in (["--run", str(run), "--out", str(out / "d.pt")], ["--detector", str(tmp_path / "d.pt")]):
        with pytest.raises(UserError, match=r"--onnx-int8: this detector's network has no weights .* take --onnx"):
            evaluation.main([*words, *source])
        assert not list(out.iterdir())


@needs_packages
def test_what_cannot_be_written_is_named(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ONNX cannot hold lof \(.*\): name the scorers"):
        export(detector.parent / "run", tmp_path)
    with pytest.raises(UserError, match=r"--onnx .*d\.txt: name a file that ends in \.onnx"):
        export(detector.parent / "run", tmp_path, "--onnx", str(tmp_path / "d.txt"))
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install onnx onnxscript onnxruntime"):
        export(detector.parent / "run", tmp_path)
    assert not list(tmp_path.iterdir())
