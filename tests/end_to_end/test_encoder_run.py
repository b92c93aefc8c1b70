"""A pre-trained encoder with real weights, by the real commands: frozen bank → scores → detector → recordings."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import pytest

import eval as evaluation
import train_ddp
from asd.backbones import CrepeConfig
from asd.config.load import load_config
from asd.errors import UserError
from asd.metrics import read_scores
from asd.run_folder import checkpoint
from shards import pack
from tests.support.encoders import TINY_CREPE, changed_crepe
from tests.support.hooks import score_at_once
from tests.support.inline import score_inline, score_run
from tests.support.launch import succeed
from tests.support.narrow import CONFIGS
from tests.support.sets import make_set

FEW = ["data.machine_types=[fan]", "evaluate.fit_clips_per_class=6"]
CREPE = "backbone={name: crepe, hop: 1024, layers: [5, 6]}"
SCORERS = "evaluate.scorers=[{name: knn, view: layer_6}, {name: knn, view: layer_5}]"


def words(shards: Path, folder: Path, *more: str) -> list[str]:
    return [
        *("--config", str(CONFIGS["encoder_frozen"]), f"data.shards={shards}", f"run.dir={folder}"),
        *(CREPE, SCORERS, *FEW, *more),
    ]


def scores_of(folder: Path) -> dict[str, list[float]]:
    return {name: x.tolist() for name, x in read_scores(folder / "scores.csv").scores.items()}


@pytest.fixture(scope="module")
def run(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(words(small_set, folder)) == 0
    return folder


def test_two_ranks_say_what_one_says(run: Path, small_set: Path, tmp_path: Path) -> None:
    succeed(tmp_path / "log", words(small_set, tmp_path / "two"), ranks=2, prepare=score_at_once)
    found, wanted = (scores_of(folder / "evaluations" / "step_00000000") for folder in (tmp_path / "two", run))
    assert list(wanted) == ["knn_layer_6", "knn_layer_5"]
    for name, column in wanted.items():
        assert found[name] == pytest.approx(column, abs=1e-6)
    assert len(set(wanted["knn_layer_6"])) == len(wanted["knn_layer_6"]) == 16


def test_the_checkpoint_names_the_file_and_holds_none_of_it(run: Path) -> None:
    folder = checkpoint.step_path(run / "checkpoints", 0)
    assert checkpoint.load_weights(folder) == {}
    saved = load_config(folder / "config.yaml").backbone
    assert isinstance(saved, CrepeConfig)
    assert saved.sha256 == hashlib.sha256(TINY_CREPE.read_bytes()).hexdigest()


def test_it_goes_on_with_the_same_weights_alone(run: Path, small_set: Path, tmp_path: Path) -> None:
    """A file of the same content may lie elsewhere."""
    other, moved = changed_crepe(tmp_path / "other.pth"), shutil.copy(TINY_CREPE, tmp_path / "moved.pth")
    with pytest.raises(UserError, match=r"belongs to a run with another backbone\.sha256 \("):
        train_ddp.main(words(small_set, run, f"backbone.weights={other}"))
    assert train_ddp.main(words(small_set, run, f"backbone.weights={moved}")) == 0
    with pytest.raises(UserError, match=r"other\.pth is another file than backbone\.sha256 says"):
        score_run(run, tmp_path / "scored", f"backbone.weights={other}")
    found = scores_of(score_run(run, tmp_path / "scored", f"backbone.weights={moved}"))
    assert found == scores_of(run / "evaluations" / "step_00000000")


def test_a_detector_hears_recordings_as_the_run_did(
    run: Path, small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It needs no file but itself: here the package's is gone."""
    detector, scores = tmp_path / "detector.pt", tmp_path / "scores.csv"
    assert evaluation.main(["export", "--run", str(run), "--out", str(detector)]) == 0
    monkeypatch.setattr(CrepeConfig, "usual_weights", None)
    clips = sorted((small_set.parent / "recordings" / "fan" / "test").glob("*_id_00_*.wav"))
    chosen = ["--detector", str(detector), "--machine", "fan", "--id", "00", "--out", str(scores)]
    assert evaluation.main(["clips", *chosen, *map(str, clips)]) == 0
    capsys.readouterr()
    with scores.open(newline="") as file:
        heard = {Path(row["file"]).name: float(row["score"]) for row in csv.DictReader(file)}
    table = read_scores(run / "evaluations" / "step_00000000" / "scores.csv")
    rows = [i for i, own in enumerate(table.machine_id) if own == "00"]
    wanted = {table.file_name[i]: table.scores["knn_layer_6"][i] for i in rows}
    assert len(wanted) == 8
    for name, score in wanted.items():
        assert heard[Path(name).name] == pytest.approx(score, abs=1e-5)


def test_another_sample_rate_is_refused_with_what_to_pack(tmp_path: Path) -> None:
    make_set(tmp_path, classes=[("fan", "00")], train=2, test=1, seconds=0.1)
    slow = tmp_path / "slow"
    source = ["--layout", "dcase2020", "--source", str(tmp_path / "recordings"), "--out", str(slow)]
    assert pack.main([*source, "--sample-rate", "8000", "--resample", "--workers", "1"]) == 0
    hears = r"backbone crepe hears 16000 Hz, and .*slow holds 8000 Hz: pack .* --sample-rate 16000 --resample"
    with pytest.raises(UserError, match=hears):
        train_ddp.main(words(slow, tmp_path / "run"))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("backbone.project=8", r"task untrained trains nothing, but backbone\.project=8 needs training: leave it out"),
        ("backbone.pool=attentive", r"pool=attentive is for one layer"),
        ("backbone.pool=cls", r"this encoder has no token of the whole clip"),
        ("backbone.tune=lora", r"this encoder has no layers for adapters"),
        ("backbone.layers=[6, 5]", r"write them in ascending order"),
        ("backbone.layers=[7]", r"this encoder has layers 1 to 6"),
        ("evaluate.scorers=[{name: knn, view: layer_4}]", r"reads view layer_4 of the backbone: did you mean layer_"),
    ],
)
def test_settings_that_cannot_be_are_one_line(word: str, said: str, small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        train_ddp.main(words(small_set, tmp_path / "run", word))
