"""From a run to a detector, and from recordings to decisions: the real commands, without the training data."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import eval as evaluation
import train_ddp
from asd.audio.recording import Target
from asd.audio.windows import Cut, open_recording
from asd.detector import read_detector
from asd.errors import UserError
from shards import cut, pack
from tests.support.inline import score_inline, score_run
from tests.support.launch import succeed, train_words
from tests.support.sets import SAMPLE_RATE, machine_sound

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "own-machines.md"
CLASSIFIES = (
    [
        "softmax",
        "neg_log_softmax",
        "log_odds",
        "centroid",
        "knn",
        "local_knn",
        "lof",
        "mahalanobis",
        "gmm",
        "band_knn",
        "pca_residual",
        "fused",
        "untrained_knn",
    ],
    ["train.steps=2", "evaluate.flip=[fan/02]"],
)
# Windows, whose embeddings are averaged; the start of each clip alone.
WINDOWS = (
    ["knn", "log_odds", "untrained_knn"],
    ["train.steps=1", "windows={frames: 8, hop: 4}", "evaluate.average=embeddings", "evaluate.first_s=0.6"],
)
REBUILDS = (
    ["reconstruction", "selective_mahalanobis", "knn"],
    [
        "train.steps=1", "mixup=null", "loss=null", "backbone=null", "windows={frames: 5, hop: 1}",
        "task={name: reconstruction, network: {name: autoencoder, frames: 5, hidden: [16, 16]}}",
    ],
)  # fmt: skip
MEASURES = (
    ["fused", "band_knn_twfr_0.99_level", "knn_euclidean_mean_std", "mahalanobis_raw_quantiles", "untrained_knn"],
    [
        "optim=null", "mixup=null", "loss=null", "task={name: untrained}", "backbone={name: statistics}",
        "data.val_fraction=0", "evaluate.select=last", "evaluate.scorers=[{name: fused, members: [{name: band_knn}, "
        "{name: mahalanobis, space: raw}], views: [mean_std, twfr_0.99_level]}, "
        "{name: band_knn, view: twfr_0.99_level}, {name: knn, metric: euclidean, view: mean_std}, "
        "{name: mahalanobis, space: raw, view: quantiles}, "
        "{name: untrained_knn}]",
    ],
)  # fmt: skip
SYSTEMS = {"classifies": CLASSIFIES, "windows": WINDOWS, "rebuilds": REBUILDS, "measures": MEASURES}


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    score_inline(monkeypatch)


def make_run(shards: Path, folder: Path, system: str) -> Path:
    """A run of a step or two, in this process."""
    scorers, words = SYSTEMS[system]
    words = [f"evaluate.scorers=[{', '.join(f'{{name: {name}}}' for name in scorers)}]", *words]
    assert train_ddp.main(train_words(shards, folder, "train.epochs=null", *words)) == 0
    return folder


def clips(*words: object) -> int:
    return evaluation.main(["clips", *map(str, words)])


def judged(out: Path, *words: object, code: int = 0) -> dict[str, Any]:
    """What eval.py clips writes as json."""
    assert clips(*words, "--out", out) == code
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture(scope="module")
def detector(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four machines, clips of 1 s at 16 kHz; the primary scorer is softmax."""
    folder = tmp_path_factory.mktemp("detector")
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        run = make_run(small_set, folder / "run", "classifies")
        assert evaluation.main(["export", "--run", str(run), "--out", str(folder / "detector.pt")]) == 0
    return folder / "detector.pt"


# ---- the same scores -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_scores_are_those_of_the_evaluation(system: str, uneven_set: Path, tmp_path: Path) -> None:
    """For every scorer and clip, thresholds and decisions too; and nothing of run or set is there any more."""
    shutil.copytree(uneven_set, tmp_path / "set" / "shards")
    run = make_run(tmp_path / "set" / "shards", tmp_path / "set" / "run", system)
    scored = score_run(run, tmp_path / "scored")
    path = tmp_path / "detector.pt"
    assert evaluation.main(["export", "--run", str(run), "--out", str(path)]) == 0
    shutil.rmtree(tmp_path / "set")

    rows = list(csv.DictReader((scored / "scores.csv").read_text().splitlines()))
    decided = {
        row["key"]: row["decision"] for row in csv.DictReader((scored / "decisions.csv").read_text().splitlines())
    }
    thresholds = json.loads((scored / "report.json").read_text())["thresholds"]
    scorers = list(rows[0])[6:]
    assert scorers == SYSTEMS[system][0]
    recordings = uneven_set.parent / "recordings"
    for machine in sorted({(row["machine_type"], row["machine_id"]) for row in rows}):
        own = [row for row in rows if (row["machine_type"], row["machine_id"]) == machine]
        places = [recordings / machine[0] / "test" / row["file"] for row in own]
        for scorer in scorers:
            words = ["--detector", path, *places, "--machine", machine[0], "--id", machine[1], "--scorer", scorer]
            found = judged(tmp_path / "out.json", *words)
            scores = [clip["score"] for clip in found["clips"]]
            # Other batches, other rounding of embeddings, which softmax at scale 30 makes 30 times as large.
            np.testing.assert_allclose(scores, [float(row[scorer]) for row in own], rtol=1e-4, atol=1e-6)
            if scorer == scorers[0]:
                # A fit of three parameters makes more of the rounding of other batches than the scores do.
                assert found["threshold"] == pytest.approx(thresholds["/".join(machine)]["value"], rel=2e-3)
                clear = np.abs(np.array(scores) / found["threshold"] - 1) > 2e-3
                parts = [list(clip.get("members", {}).values()) for clip in found["clips"]]
                if scorer == "fused":  # a clip of one window: the score is the members' median
                    np.testing.assert_allclose(np.median(parts, axis=1), scores, rtol=1e-6)
                    assert parts[0] == sorted(parts[0], reverse=True)
                else:
                    assert not any(parts)
                anomalous = np.array([float(decided[row["key"]]) == 1 for row in own])
                assert (np.array([c["decision"] == "anomaly" for c in found["clips"]]) == anomalous)[clear].all()


def test_a_real_process_judges_a_folder(detector: Path, small_set: Path, tmp_path: Path) -> None:
    place = small_set.parent / "recordings" / "pump" / "test"
    done = succeed(
        tmp_path / "log", ["clips", "--detector", str(detector), str(place), "--machine", "pump"], script="eval"
    )
    assert "pump/00, softmax" in done.out[0]
    assert re.search(r"normal_id_00_00000003.wav +1.0 +[\d.e-]+ +(normal|anomaly)", done.out[0]), done.out[0]
    assert done.err[0] == ""


def test_an_export_again_holds_what_is_asked_for(detector: Path, tmp_path: Path) -> None:
    run, out = detector.parent / "run", tmp_path / "small.pt"
    assert (
        evaluation.main(["export", "--run", str(run), "--out", str(out), "--scorer", "knn", "--checkpoint", "2"]) == 0
    )
    file, whole = read_detector(out), read_detector(detector)
    assert [scorer.label for scorer in file.scorers] == ["knn"]
    assert out.stat().st_size < detector.stat().st_size
    assert (file.clip_s, file.longest_s, file.sample_rate) == (1.0, 1.0, SAMPLE_RATE)
    assert file.provenance.fingerprint == whole.provenance.fingerprint
    assert file.provenance.trained.versions["torch"]
    assert list(tmp_path.iterdir()) == [out]  # nothing of the work is left
    for words, said in (
        (["--scorer", "gmn"], "--scorer gmn: the run has softmax"),
        (["--checkpoint", "7"], "kept steps: 2"),
        (["--out", str(tmp_path)], "name a file in a folder that exists"),
        (["--out", str(run / "config.yaml")], "is not a detector"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            evaluation.main(["export", "--run", str(run), "--out", str(out), *words])


def test_a_long_word_for_onnx_is_one_line(detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = ["export", "--run", str(detector.parent / "run"), "--out", str(tmp_path / "d.pt")]
    with pytest.raises(UserError, match="pip install onnx onnxscript onnxruntime"):
        evaluation.main([*words, "--onnx", str(tmp_path / "d.onnx")])
    assert not list(tmp_path.iterdir())


def test_onnx_gives_the_same_embedding(detector: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is optional and not installed")
    from asd.detector.formats.onnx import Onnx

    line = Onnx().write(read_detector(detector), detector, tmp_path / "d.onnx")
    difference, largest = re.search(r"by (\S+) of (\S+)$", line).groups()  # type: ignore[union-attr]
    assert float(difference) < 1e-4 * float(largest)


# ---- recordings as people have them --------------------------------------------------------------------------------


def sound(seconds: float, rate: int = SAMPLE_RATE, anomalous: bool = False) -> np.ndarray:
    return machine_sound(2.0, round(seconds * rate), np.random.default_rng(5), anomalous)


def test_long_recordings_are_heard_in_windows(detector: Path, tmp_path: Path) -> None:
    long = sound(4.5)
    soundfile.write(tmp_path / "long.wav", long, SAMPLE_RATE, subtype="PCM_16")
    pcm, _ = soundfile.read(tmp_path / "long.wav", dtype="int16")
    begins = [0.0, 1.0, 2.0, 3.0, 3.5]
    (tmp_path / "parts").mkdir()
    for begin in begins:
        piece = pcm[round(begin * SAMPLE_RATE) :][:SAMPLE_RATE]
        soundfile.write(tmp_path / "parts" / f"{begin}.wav", piece, SAMPLE_RATE, subtype="PCM_16")
    words = ["--detector", detector, "--machine", "pump", "--scorer", "knn"]
    (whole,) = judged(tmp_path / "a.json", *words, tmp_path / "long.wav")["clips"]
    parts = judged(tmp_path / "b.json", *words, tmp_path / "parts")["clips"]
    assert [window["begin_s"] for window in whole["timeline"]] == begins
    scores = [window["score"] for window in whole["timeline"]]
    np.testing.assert_allclose(scores, [clip["score"] for clip in parts], rtol=1e-5, atol=1e-7)
    assert whole["score"] == pytest.approx(np.mean(scores))
    assert whole["windows_above"] == sum(score > whole["threshold"] for score in scores)
    half = judged(tmp_path / "c.json", *words, tmp_path / "long.wav", "--window", "0.5", "--overlap", "0.5")
    assert [w["begin_s"] for w in half["clips"][0]["timeline"]] == pytest.approx(np.arange(17) / 4)


def test_windows_do_not_lie_in_memory_together(tmp_path: Path) -> None:
    path = tmp_path / "day.wav"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros(SAMPLE_RATE * 10, dtype=np.int16))
    recording = open_recording(path, Target(SAMPLE_RATE, "average"))
    sizes = [len(w.samples) for w in recording.windows(Cut(SAMPLE_RATE, SAMPLE_RATE, SAMPLE_RATE))]
    assert sizes == [SAMPLE_RATE] * 600


def test_other_rates_and_channels_are_brought_to_the_detectors(detector: Path, tmp_path: Path, capfd: Any) -> None:
    whole = np.rint(sound(1.0) * 32767).astype(np.int16)
    soundfile.write(tmp_path / "plain.wav", whole, SAMPLE_RATE, subtype="PCM_16")
    both = np.stack([whole, whole], axis=1)
    soundfile.write(tmp_path / "both.flac", both, SAMPLE_RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "wide.wav", sound(1.0), SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "fast.wav", sound(1.0, 44_100), 44_100, subtype="PCM_24")
    words = ["--detector", detector, tmp_path, "--machine", "pump", "--scorer", "centroid"]
    alone = judged(tmp_path / "first.json", *words, code=1)["clips"]
    assert "it has 2 channels, trained on one channel" in alone[0]["error"]
    found = judged(tmp_path / "out.json", *words, "--channel", "average")["clips"]
    both, fast, plain, wide = found
    assert [Path(clip["file"]).name for clip in found] == ["both.flac", "fast.wav", "plain.wav", "wide.wav"]
    assert both["remarks"] == ["mean of 2 channels", "of 2 channels, trained on one channel"]
    assert fast["remarks"] == ["resampled from 44100 Hz", "at 44100 Hz, trained on 16000 Hz"]
    assert both["score"] == pytest.approx(plain["score"], rel=1e-6)
    assert wide["score"] == pytest.approx(plain["score"], rel=1e-2)
    said = capfd.readouterr().err
    assert "1 of 4 recordings: resampled from 44100 Hz" in said
    only = judged(tmp_path / "second.json", *words, "--channel", "1", code=1)["clips"]
    assert [clip["error"] for clip in only] == [None, *["it has 1 channel, numbered from 0"] * 3]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_window_is_the_same_wherever_it_is_read(tmp_path: Path, suffix: str) -> None:
    """Of a recording at another rate, but for the ends of the window, where it is resampled on its own."""
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound(3.0, 44_100), 44_100, subtype="PCM_16")
    recording = open_recording(path, Target(SAMPLE_RATE))
    (whole,) = recording.windows(Cut(48_000, 48_000, 48_000))
    windows = list(recording.windows(Cut(20_000, 20_000, 20_000)))
    assert [len(window.samples) for window in windows] == [20_000] * 3
    for window in windows:
        begin = round(window.begin_s * SAMPLE_RATE)
        inner = slice(50, -50)
        expected = whole.samples[begin : begin + 20_000][inner].astype(float)
        lag = np.abs(window.samples[inner].astype(float) - expected).max()
        assert lag < 0.05 * np.abs(expected).max()  # it begins on a sample of the recording's: up to 1/44100 s early


def test_what_cannot_be_read_is_counted_and_the_rest_judged(detector: Path, tmp_path: Path, capfd: Any) -> None:
    soundfile.write(tmp_path / "good.wav", sound(1.0), SAMPLE_RATE, subtype="PCM_16")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound")
    cut_short = (tmp_path / "good.wav").read_bytes()[:9_000]
    (tmp_path / "short.wav").write_bytes(cut_short)
    (tmp_path / "notes.txt").write_text("not looked at")
    words = ["--detector", detector, "--machine", "pump", tmp_path]
    found = {Path(c["file"]).name: c for c in judged(tmp_path / "out.json", *words, code=1)["clips"]}
    assert set(found) == {"good.wav", "empty.wav", "text.wav", "short.wav"}
    assert found["good.wav"]["score"] is not None
    assert found["empty.wav"]["error"] == "the file is empty"
    assert "bytes of samples" in found["short.wav"]["error"]
    assert all(clip["decision"] is None for name, clip in found.items() if name != "good.wav")
    assert "3 of 4 recordings have no score, first:" in capfd.readouterr().err
    assert clips(*words) == 1
    assert capfd.readouterr().out.count("unreadable") == 3


def test_too_short_a_recording_says_so(uneven_set: Path, tmp_path: Path) -> None:
    run = make_run(uneven_set, tmp_path / "run", "rebuilds")
    assert evaluation.main(["export", "--run", str(run), "--out", str(tmp_path / "d.pt")]) == 0
    for seconds in (0.05, 0.4):
        soundfile.write(tmp_path / f"{seconds}.wav", sound(seconds), SAMPLE_RATE, subtype="PCM_16")
    words = ["--detector", tmp_path / "d.pt", "--machine", "pump", tmp_path / "0.05.wav", tmp_path / "0.4.wav"]
    short, enough = judged(tmp_path / "out.json", *words, code=1)["clips"]
    assert "a clip gives 2 frames and a window has 5" in short["error"]
    assert enough["error"] is None


# ---- what is shown -------------------------------------------------------------------------------------------------


def test_csv_json_and_pictures(detector: Path, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a,$b[red].wav", sound(2.5), SAMPLE_RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "in" / "overview.wav", sound(2.5, anomalous=True), SAMPLE_RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "in" / "short.wav", sound(1.0), SAMPLE_RATE, subtype="PCM_16")
    words = ["--detector", detector, "--machine", "pump", "--id", "00", tmp_path / "in"]
    assert clips(*words, "--format", "csv", "--plot", tmp_path / "plots") == 0
    rows = list(csv.DictReader(capfd.readouterr().out.splitlines()))
    assert [Path(row["file"]).name for row in rows] == ["a,$b[red].wav", "overview.wav", "short.wav"]
    assert [row["windows"] for row in rows] == ["3", "3", "1"]
    assert float(rows[2]["score"]) >= 0
    drawn = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert drawn == ["a,$b[red].png", "overview-2.png", "overview.png"]
    assert all((tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG") for name in drawn)
    assert clips(*words, "--format", "json") == 0
    assert json.loads(capfd.readouterr().out)["scorer"] == "softmax"
    assert clips(*words) == 0
    assert "a,$b[red].wav" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--machine", "fan"], "name the machine: --machine fan --id 00"),
        (["--machine", "lathe"], "has no such machine"),
        (["--machine", "pump", "--scorer", "gmn"], "has no scorer gmn: it has softmax"),
        (["--machine", "pump", "--overlap", "1"], "--overlap 1"),
        (["--machine", "pump", "--window", "0"], "--window 0"),
        (["--machine", "pump", "--channel", "left"], "--channel left"),
        (["--machine", "pump", "nowhere.wav"], "there is no file or folder nowhere.wav"),
    ],
)
def test_mistakes_are_told(detector: Path, small_set: Path, words: list[str], said: str) -> None:
    place = small_set.parent / "recordings" / "pump" / "test"
    with pytest.raises(UserError, match=re.escape(said)):
        clips("--detector", detector, place, *words)


def test_a_folder_without_recordings_is_told(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no recordings"):
        clips("--detector", detector, "--machine", "pump", tmp_path)


# ---- a table of several machines -----------------------------------------------------------------------------------


@pytest.fixture
def of_two_machines(small_set: Path, tmp_path: Path) -> Path:
    """today.csv of pump 00 and fan 02 in turn, each with a normal and an anomalous clip, and a fan without a label."""
    lines = ["path,machine_type,machine_id,split,label"]
    for number in range(2):
        for label in ("normal", "anomaly"):
            for machine, own in (("pump", "00"), ("fan", "02")):
                source = small_set.parent / "recordings" / machine / "test" / f"{label}_id_{own}_{number:08d}.wav"
                name = f"{machine}_{label}_{number}.wav"
                shutil.copy(source, tmp_path / name)
                lines.append(f"{name},{machine},{own},test,{label if number == 0 else ''}")
    (tmp_path / "today.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return tmp_path / "today.csv"


def test_each_row_of_a_table_is_judged_by_its_own_machine(
    detector: Path, of_two_machines: Path, tmp_path: Path, capfd: Any
) -> None:
    words = ["--detector", detector, "--scorer", "knn"]
    together = judged(tmp_path / "all.json", *words, of_two_machines, "--plot", tmp_path / "plots")
    said = capfd.readouterr().err
    assert (together["machine_type"], together["machine_id"], together["threshold"]) == (None, None, None)
    assert [clip["machine_type"] for clip in together["clips"]] == ["pump", "fan"] * 4
    assert [clip["label"] for clip in together["clips"]] == ["normal"] * 2 + ["anomaly"] * 2 + [None] * 4
    for machine, own in (("pump", "00"), ("fan", "02")):
        rows = [clip for clip in together["clips"] if clip["machine_type"] == machine]
        paths = [clip["file"] for clip in rows]
        alone = judged(tmp_path / "alone.json", *words, *paths, "--machine", machine, "--id", own)
        assert [row | {"label": None} for row in rows] == alone["clips"]
        assert {row["threshold"] for row in rows} == {alone["threshold"]}
        called = {row["label"]: row["decision"] == "anomaly" for row in rows}
        line = (
            f"{called['anomaly']:d} of 1 anomalies found, {called['normal']:d} of 1 normal recordings called anomalies"
        )
        assert f"{machine}/{own}: {line}\n" in said
    assert (tmp_path / "plots" / "overview.png").is_file()
    assert clips(*words, of_two_machines) == 0
    shown = capfd.readouterr().out
    assert "fan/02" in shown
    assert "threshold" in shown


def test_a_row_that_cannot_be_read_is_named(detector: Path, of_two_machines: Path, capfd: Any) -> None:
    (of_two_machines.parent / "fan_normal_0.wav").unlink()
    assert clips("--detector", detector, of_two_machines) == 1
    said = capfd.readouterr().err
    assert "warning: 1 of 8 recordings have no score, first: " in said
    assert f"fan_normal_0.wav ({of_two_machines}:3): No such file" in said


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "machine_type,machine_id\npump,00\n",
            "csv:1: the first line must name the columns path and may name machine_type",
        ),
        ("path,machine_type,machine_id\n", "lists no recording"),
        (
            "path,machine_type,machine_id\na.wav,pump,00\nb.wav,lathe,00\n",
            "csv:3: lathe/00 is not a machine of the detector: it has fan/00, fan/02",
        ),
        ("path,machine_type\na.wav,fan\n", "csv:2: fan/? is not one machine of the detector"),
        ("path,machine_type,machine_id\na.wav,pump\n", "csv:2: the line has another number of cells"),
        ("path,machine_type,machine_id\n,pump,00\n", "csv:2: it names no path"),
        (
            "path,machine_type,machine_id,label\na.wav,pump,00,broken\n",
            "csv:2: label is 'broken', not one of (empty), normal, anomaly, unknown",
        ),
    ],
)
def test_mistakes_in_a_table_are_told_with_their_line(detector: Path, tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "today.csv").write_text(table)
    with pytest.raises(UserError, match=re.escape(said)):
        clips("--detector", detector, tmp_path / "today.csv")


def test_a_table_stands_alone(detector: Path, of_two_machines: Path) -> None:
    with pytest.raises(UserError, match=r"today\.csv names the machine of each recording"):
        clips("--detector", detector, of_two_machines, "--machine", "pump")
    with pytest.raises(UserError, match="name it alone"):
        clips("--detector", detector, of_two_machines, of_two_machines.parent)
    with pytest.raises(UserError, match=r"there is no file or folder nowhere\.csv"):
        clips("--detector", detector, "nowhere.csv")


# ---- docs/own-machines.md ------------------------------------------------------------------------------------------

MAINS = {
    "shards.cut": cut.main,
    "shards.pack": pack.main,
    "train_ddp.py": train_ddp.main,
    "eval.py": evaluation.main,
}


def commands_of(document: str) -> list[list[str]]:
    """The words of every `python …` and `torchrun …` line of its code blocks, in order."""
    blocks = re.findall(r"^```\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("python ")]


def test_the_walk_through_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Every command of the page as it stands there, in its order, on half a minute of sound; the training shorter."""
    root = DOCUMENT.parents[1]
    document = DOCUMENT.read_text()
    (tmp_path / "configs").symlink_to(root / "configs")
    monkeypatch.chdir(tmp_path)
    training, today = re.findall(r"^```\n(path,machine_type.*?)^```$", document, re.DOTALL | re.MULTILINE)
    recordings = tmp_path / "recordings"
    (recordings / "today").mkdir(parents=True)
    (recordings / "recordings.csv").write_text(training)
    (recordings / "today.csv").write_text(today)
    for number, row in enumerate(csv.DictReader(training.splitlines())):
        (recordings / row["path"]).parent.mkdir(exist_ok=True)
        tone = machine_sound(1.0, 25 * 44_100, np.random.default_rng(number), row["label"] == "anomaly")
        soundfile.write(recordings / row["path"], tone, 44_100, subtype="PCM_16")
    for row in csv.DictReader(today.splitlines()):
        soundfile.write(recordings / row["path"], sound(25.0, 44_100), 44_100, subtype="PCM_16")
    commands = commands_of(document)
    programs = [command[2] if command[1] == "-m" else command[1] for command in commands]
    assert programs[:4] == ["shards.cut", "shards.pack", "train_ddp.py", "eval.py"]
    for command, program in zip(commands, programs, strict=True):
        words = command[3:] if command[1] == "-m" else command[2:]
        assert MAINS[program](words) == 0, command
    told = capfd.readouterr()
    assert "anomaly above" in told.out
    assert re.search(r"^pump/2: [01] of 1 anomalies found, 0 of 0 normal", told.err, re.MULTILINE)
    row, _ = csv.DictReader((tmp_path / "today.csv").read_text().splitlines())
    assert (row["windows"], row["remarks"]) == ("3", "resampled from 44100 Hz")
    assert (tmp_path / "plots" / "0800.png").is_file()
    usual, strict = (
        read_detector(tmp_path / f"{name}.pt").scorers[0].thresholds for name in ("detector", "detector99")
    )
    assert all(strict[own] > usual[own] for own in usual)
