"""Near and reference microphone by the real commands: pack → train or embed → score → detector → recordings."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import eval as evaluation
import train_ddp
from asd.detector import Detector, read_detector
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.metrics import read_scores
from tests.support.hooks import score_at_once
from tests.support.inline import score_inline, score_run
from tests.support.launch import losses, succeed, train_words
from tests.support.narrow import CONFIGS

SCORERS = "evaluate.scorers=[{name: knn}, {name: mahalanobis}, {name: untrained_knn}]"
STEP = "evaluations/step_00000000"
FAN = ("--machine", "fan", "--id", "02")  # whose clips are as long as a window
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_detector.py"


def words(shards: Path, folder: Path, *more: str) -> list[str]:
    return [*("--config", str(CONFIGS["statistics"]), f"data.shards={shards}", f"run.dir={folder}", SCORERS), *more]


def scores_of(folder: Path) -> dict[str, list[float]]:
    return {name: x.tolist() for name, x in read_scores(folder / "scores.csv").scores.items()}


@pytest.fixture(scope="module")
def run(stereo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(words(stereo_set, folder, f"evaluate.cache_dir={folder.parent / 'kept'}")) == 0
    return folder


def test_the_reference_is_heard_unless_its_weight_is_zero(
    run: Path, stereo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embeddings that are kept for one weight are not taken for another."""
    score_inline(monkeypatch)
    near_only = scores_of(score_run(run, tmp_path / "scored", "evaluate.reference_weight=0"))
    assert train_ddp.main(words(stereo_set.parent / "near", tmp_path / "near")) == 0
    assert near_only == scores_of(tmp_path / "near" / STEP)
    both = scores_of(run / STEP)
    assert both["knn"] != near_only["knn"]
    assert both["untrained_knn"] == near_only["untrained_knn"]


def test_two_ranks_hear_what_one_does(run: Path, stereo_set: Path, tmp_path: Path) -> None:
    succeed(tmp_path / "log", words(stereo_set, tmp_path / "two"), ranks=2, prepare=score_at_once)
    assert scores_of(tmp_path / "two" / STEP) == scores_of(run / STEP)


def test_training_hears_the_near_microphone(stereo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score_inline(monkeypatch)
    for name, shards in (("two", stereo_set), ("near", stereo_set.parent / "near")):
        more = ["train.steps=4", "train.global_batch=8", "data.crop_s=0.6", "evaluate.scorers=[{name: knn}]"]
        assert train_ddp.main(train_words(shards, tmp_path / name, *more)) == 0
    assert losses(tmp_path / "two") == losses(tmp_path / "near")
    assert len(losses(tmp_path / "two")) == 4
    two, near = (scores_of(tmp_path / name / "evaluations" / "step_00000004") for name in ("two", "near"))
    assert two != near


def test_a_detector_hears_both(run: Path, stereo_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detector, scores = tmp_path / "detector.pt", tmp_path / "scores.csv"
    assert evaluation.main(["export", "--run", str(run), "--out", str(detector)]) == 0
    assert "channels 0 (near) and 1 (reference) of 2" in capsys.readouterr().out
    assert read_detector(detector).reference_weight == 0.5
    clips = ["clips", "--detector", str(detector), str(stereo_set.parent / "recordings" / "fan" / "test")]
    assert evaluation.main([*clips, "--machine", "fan", "--id", "00", "--out", str(scores)]) == 0
    with scores.open(newline="") as file:
        heard = {Path(row["file"]).name: float(row["score"]) for row in csv.DictReader(file)}
    table = read_scores(run / STEP / "scores.csv")
    own = [
        i
        for i, machine in enumerate(zip(table.machine_type, table.machine_id, strict=True))
        if machine == ("fan", "00")
    ]
    assert len(own) == 6
    for i in own:
        assert heard[Path(table.file_name[i]).name] == pytest.approx(table.scores["knn"][i], abs=1e-5)
    listen = ["listen", "--detector", str(detector), "--machine", "fan", "--id", "00", "--window", "0.5"]
    names, raw = sorted(name for name in heard if "id_00" in name), tmp_path / "stereo.raw"
    places = (stereo_set.parent / "recordings" / "fan" / "test" / name for name in names)
    raw.write_bytes(b"".join(soundfile.read(path, dtype="int16")[0].astype("<i2").tobytes() for path in places))
    capsys.readouterr()
    assert evaluation.main([*listen, "--source", str(raw), "--channels", "2", "--end-after", "0.5"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    live = [event["score"] for event in events if event["event"] == "window"]
    assert live == pytest.approx([heard[name] for name in names], abs=1e-5)
    with pytest.raises(UserError, match=r"--channels 1: .*hears 0 \(near\) and 1 \(reference\): give --channels 2"):
        evaluation.main([*listen, "--source", str(raw)])
    for channel in ("0", "average"):
        with pytest.raises(UserError, match=r"hears a near and a reference microphone: name both, --channel NEAR,REF"):
            evaluation.main([*clips, "--machine", "fan", "--id", "00", "--channel", channel])


def test_a_detector_of_two_refuses_the_samples_of_one(run: Path, tmp_path: Path) -> None:
    detector = tmp_path / "detector.pt"
    assert evaluation.main(["export", "--run", str(run), "--out", str(detector), "--normals", "0"]) == 0
    with start_ranks("fp32", 60) as ranks:
        opened = Detector.open(read_detector(detector), detector, ranks, 0)
        with pytest.raises(UserError, match=r"detector\.pt hears a near and a reference microphone, and here is one"):
            opened.embed(np.zeros((1, 8_000), dtype=np.int16), 0)


def test_what_two_microphones_hear_is_not_explained(run: Path, tmp_path: Path, stereo_set: Path) -> None:
    detector = tmp_path / "detector.pt"
    assert evaluation.main(["export", "--run", str(run), "--out", str(detector)]) == 0
    clips = ["clips", "--detector", str(detector), str(stereo_set.parent / "recordings" / "fan" / "test")]
    with pytest.raises(UserError, match=r"--explain: .*detector\.pt hears two microphones"):
        evaluation.main([*clips, "--machine", "fan", "--id", "00", "--explain"])


def test_a_detector_of_one_microphone_does_not_hear_two(run: Path, tmp_path: Path, stereo_set: Path) -> None:
    detector = tmp_path / "near.pt"
    weight = "evaluate.reference_weight=0"
    assert evaluation.main(["export", "--run", str(run), "--out", str(detector), weight]) == 0
    file = read_detector(detector)
    assert file.reference_weight is None
    assert file.heard is not None
    assert file.heard.channel == 0
    clips = ["clips", "--detector", str(detector), str(stereo_set.parent / "recordings" / "fan" / "test")]
    with pytest.raises(UserError, match=r"--channel 0,1: .*near\.pt hears one channel: name one, --channel N"):
        evaluation.main([*clips, "--machine", "fan", "--id", "00", "--channel", "0,1"])


def test_onnx_hears_both(run: Path, stereo_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checked by the export; the example, without torch, says what eval.py clips says. Of the near one alone, too."""
    session_of = pytest.importorskip("onnxruntime").InferenceSession
    detector, model = tmp_path / "detector.pt", tmp_path / "detector.onnx"
    words = ["export", "--run", str(run), "--out", str(detector), "--onnx", str(model), "--scorer", "knn"]
    places = [str(path) for path in (stereo_set.parent / "recordings" / "fan" / "test").glob("*_id_02_*.wav")]
    for more, shape in (([], [1, 2, 11_200]), (["evaluate.reference_weight=0"], [1, 11_200])):
        assert evaluation.main([*words, *more]) == 0
        assert "the same decisions, scores within " in capsys.readouterr().out
        session = session_of(model, providers=["CPUExecutionProvider"])
        assert session.get_inputs()[0].shape == shape
        assert evaluation.main(["clips", "--detector", str(detector), *places, *FAN, "--format", "json"]) == 0
        told = {clip["file"]: clip for clip in json.loads(capsys.readouterr().out)["clips"]}
        example = [sys.executable, str(EXAMPLE), str(model), "fan/02", *told]
        lines = subprocess.run(example, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(lines) == len(told) == 6
        for line in lines:
            said = re.fullmatch(r"(.*): knn (\S+), (\S+) \(threshold \S+\)", line)
            assert said is not None
            assert said[3] == told[said[1]]["decision"]
            assert float(said[2]) == pytest.approx(told[said[1]]["score"], rel=2e-4)


def test_a_dead_reference_microphone_is_no_decision(run: Path, stereo_set: Path, tmp_path: Path) -> None:
    detector, out = tmp_path / "detector.pt", tmp_path / "out.json"
    assert evaluation.main(["export", "--run", str(run), "--out", str(detector)]) == 0
    source = next((stereo_set.parent / "recordings" / "fan" / "test").glob("*_id_02_*.wav"))
    sound, rate = soundfile.read(source, dtype="int16")
    for name, far in (("dead", 0 * sound[:, 1]), ("whole", sound[:, 1])):
        soundfile.write(tmp_path / f"{name}.wav", np.stack([sound[:, 0], far], axis=1), rate, subtype="PCM_16")
    recordings = [str(tmp_path / "dead.wav"), str(tmp_path / "whole.wav")]
    assert evaluation.main(["clips", "--detector", str(detector), *recordings, *FAN, "--out", str(out)]) == 1
    dead, whole = json.loads(out.read_text(encoding="utf-8"))["clips"]
    assert (dead["input"], dead["decision"], whole["input"]) == ("silent", None, "ok")
    assert whole["decision"] is not None


def test_a_detector_of_two_is_written_again_by_what_it_keeps(
    run: Path, stereo_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    detector, again = tmp_path / "detector.pt", ["--onnx", str(tmp_path / "again.onnx"), "--scorer", "knn"]
    assert evaluation.main(["export", "--run", str(run), "--out", str(detector)]) == 0
    checks = (["--check-on", str(stereo_set.parent / "recordings" / "pump" / "test"), "--machine", "pump"], [])
    for words, counted in zip(checks, ("6 recordings (12 windows)", "36 imitations"), strict=True):
        capsys.readouterr()
        assert evaluation.main(["export", "--detector", str(detector), *again, *words]) == 0
        assert f"checked on {counted}" in capsys.readouterr().out


def test_a_weight_without_a_reference_is_refused(small_set: Path, tmp_path: Path) -> None:
    said = (
        r"evaluate\.reference_weight=0\.7 is for sets with a reference microphone, and .* holds one channel: leave it"
    )
    with pytest.raises(UserError, match=said):
        train_ddp.main(words(small_set, tmp_path / "run", "evaluate.reference_weight=0.7"))
