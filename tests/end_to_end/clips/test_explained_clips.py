"""eval.py clips --explain: a line, json and a picture of each anomaly; refused where nothing normal is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import eval as evaluation
from asd.detector import Detector, read_detector
from asd.detector.why import explainer
from asd.distributed.start import start_ranks
from asd.errors import UserError
from tests.support.clips import exported


@pytest.fixture(scope="module")
def measures(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector by statistics of clips of 1 s."""
    return exported(small_set, tmp_path_factory.mktemp("measures"), "measures")


@pytest.fixture
def recordings(small_set: Path, tmp_path: Path) -> Path:
    """A normal clip of the pump, and 2.6 s of it with a tone of 3 kHz from 1.2 s to 1.5 s."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    normal = sorted((small_set.parent / "recordings" / "pump" / "train").glob("normal*.wav"))[:3]
    sounds = [soundfile.read(path, dtype="int16")[0] for path in normal]
    soundfile.write(folder / "plain.wav", sounds[0], 16_000)
    long = np.concatenate(sounds)[: round(2.6 * 16_000)].astype(float)
    span = slice(round(1.2 * 16_000), round(1.5 * 16_000))
    long[span] += 6000 * np.sin(2 * np.pi * 3000 * np.arange(span.stop - span.start) / 16_000)
    soundfile.write(folder / "tone.wav", long.clip(-32768, 32767).astype(np.int16), 16_000)
    return folder


def words(detector: Path, recordings: Path, *more: str) -> list[str]:
    return ["clips", "--detector", str(detector), str(recordings), "--machine", "pump", "--explain", *more]


def test_an_anomaly_is_explained(
    measures: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert evaluation.main(words(measures, recordings, "--out", str(out), "--plot", str(tmp_path / "plots"))) == 0
    plain, tone = json.loads(out.read_text())["clips"]
    assert (plain["decision"], tone["decision"]) == ("normal", "anomaly")
    assert "why" not in plain
    why = tone["why"]
    top = why["bands"][0]
    assert why["window_begin_s"] == 1.0
    assert 2800 < top["low_hz"] < 3000 < top["high_hz"] < 3200
    assert 1.1 < top["begin_s"] < 1.3
    assert 1.4 < top["end_s"] < 1.6
    assert sum(band["share"] for band in why["bands"]) + why["rest"] == pytest.approx(1)
    assert why["excess"] > 0
    assert why["closest_normal"].endswith(".wav")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"overview.png", "tone.png", "tone_why.png"}
    assert (tmp_path / "plots" / "tone_why.png").read_bytes().startswith(b"\x89PNG")

    capsys.readouterr()
    assert evaluation.main(words(measures, recordings)) == 0
    assert f"tone.wav: {why['sentence']}" in capsys.readouterr().out


def test_a_window_of_live_sound_is_explained(measures: Path, recordings: Path) -> None:
    """As `eval.py listen` keeps it: the same words as of a recording, or none without normal recordings."""
    file = read_detector(measures)
    own = file.class_index("pump", None)
    samples = soundfile.read(recordings / "tone.wav", dtype="int16", start=16_000, stop=32_000)[0]
    with start_ranks("fp32", 60) as ranks:
        detector = Detector.open(file, measures, ranks, own)
        why = explainer(detector)(samples)
        bare = Detector.open(file.model_copy(update={"normals": {}}), measures, ranks, own)
        assert explainer(bare)(samples) is None
    assert why is not None
    assert why["sentence"].startswith(("2.8", "2.9"))
    assert why["window_score"] > detector.threshold  # type: ignore[operator]


def test_nothing_normal_is_kept(measures: Path, recordings: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.pt"
    run = measures.parent / "run"
    assert evaluation.main(["export", "--run", str(run), "--out", str(bare), "--normals", "0"]) == 0
    with pytest.raises(UserError, match="keeps no normal recordings of pump/00"):
        evaluation.main(words(bare, recordings))
