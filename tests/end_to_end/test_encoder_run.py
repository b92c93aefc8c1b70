"""A pre-trained encoder with real weights, by the real commands: frozen bank → scores → detector → recordings."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import eval as evaluation
import train_ddp
from asd.backbones import BeatsConfig, CrepeConfig
from asd.config.build import set_up
from asd.config.load import load_config
from asd.detector import build_network, read_detector
from asd.errors import UserError
from asd.evaluate.embed import embed_clips
from asd.metrics import read_scores
from asd.run_folder import checkpoint
from shards import pack
from tests.support.encoders import TINY_CREPE, beats_file, beats_tensors, changed_crepe, sound
from tests.support.hooks import no_scoring, score_at_once
from tests.support.inline import score_inline, score_run
from tests.support.launch import losses, succeed, train_words
from tests.support.narrow import CONFIGS
from tests.support.resumable import cut
from tests.support.sets import make_set

FEW = ["data.machine_types=[fan]", "evaluate.fit_clips_per_class=6", "evaluate.cache_dir=null"]
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


# Adapters that learn, with the small BEATs of tests

STEPS = 4
LEARNS = [
    "frontend={name: waveform}",
    "loss={name: sub_cluster_adacos, sub_clusters: 2}",
    "mixup={group_size: 2, weight_per: clip, probability: 0.5}",
    "optim={name: adamw, lr: 1.0e-3, groups: [{part: loss, lr: 1.0e-2}]}",
    f"train.steps={STEPS}",
    "train.global_batch=8",
    "checkpoint={every_steps: 1, keep_last: 100}",
    "evaluate.scorers=[{name: knn}, {name: softmax}]",
    "evaluate.fit_clips_per_class=6",
]


@pytest.fixture(scope="module")
def beats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return beats_file(tmp_path_factory.mktemp("weights"))


def lora_words(shards: Path, folder: Path, beats: Path, *more: str) -> list[str]:
    backbone = (
        f"name: beats, weights: '{beats}', layers: [2], tune: lora, lora: {{rank: 2}}, pool: attentive, project: 8"
    )
    return train_words(shards, folder, f"backbone={{{backbone}}}", *LEARNS, *more)


@pytest.fixture(scope="module")
def adapted(small_set: Path, beats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        assert train_ddp.main(lora_words(small_set, folder, beats)) == 0
    return folder


def saved_weights(folder: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    return checkpoint.load_weights(checkpoint.step_path(folder / "checkpoints", step))


def test_a_checkpoint_holds_adapters_and_head(adapted: Path) -> None:
    saved = saved_weights(adapted)
    own = {name.rpartition(".")[2] for name in saved if ".network." in name}
    assert own == {"lora_a", "lora_b"}
    assert len([name for name in saved if name.endswith("lora_a")]) == 4  # two blocks, queries and values
    assert {name.split(".")[2] for name in saved if name.startswith("encoder")} == {
        "network",
        "attention",
        "projection",
    }
    first = saved_weights(adapted, 1)
    assert all(not torch.equal(first[name], weight) for name, weight in saved.items())


@pytest.mark.parametrize(
    "more", [[], ["backbone.checkpointing=true", "train.accumulate=2"], ["backbone.tune=all"]], ids=str
)
def test_two_ranks_learn_as_one_does(small_set: Path, beats: Path, tmp_path: Path, more: list[str]) -> None:
    found = []
    for ranks in (1, 2):
        words = lora_words(small_set, tmp_path / f"run{ranks}", beats, "optim.lr=1.0e-4", *more)
        succeed(tmp_path / f"log{ranks}", words, ranks=ranks, prepare=no_scoring)
        found.append(losses(tmp_path / f"run{ranks}"))
    assert list(found[0]) == list(range(1, STEPS + 1))
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    one, two = (saved_weights(tmp_path / f"run{ranks}") for ranks in (1, 2))
    assert one.keys() == two.keys()


def test_a_run_that_was_broken_off_ends_as_if_it_was_not(
    adapted: Path, small_set: Path, beats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint leaves out the file's weights, which are read again; another file is refused."""
    score_inline(monkeypatch)
    folder = tmp_path / "run"
    cut(adapted, folder, step=STEPS - 2)
    assert train_ddp.main(lora_words(small_set, folder, beats)) == 0
    again = saved_weights(folder)
    assert all(torch.equal(again[name], weight) for name, weight in saved_weights(adapted).items())
    other = beats_file(tmp_path, {name: 1.01 * tensor for name, tensor in beats_tensors().items()})
    with pytest.raises(UserError, match=r"belongs to a run with another backbone\.sha256"):
        train_ddp.main(lora_words(small_set, folder, other))


def test_an_exported_detector_has_its_adapters_folded_in(adapted: Path, tmp_path: Path) -> None:
    detector = tmp_path / "detector.pt"
    assert evaluation.main(["export", "--run", str(adapted), "--out", str(detector)]) == 0
    file = read_detector(detector)
    assert isinstance(file.system.backbone, BeatsConfig)
    assert (file.system.backbone.tune, file.system.backbone.weights) == ("none", None)
    assert not any("lora" in name for name in file.weights)
    network, setup = build_network(file, detector), set_up(load_config(adapted / "config.yaml"))
    setup.task.load_state_dict(saved_weights(adapted))
    clips = sound(16_000)
    with torch.no_grad():
        assert torch.allclose(network.encoder(clips), setup.task.eval().encoder(clips), atol=1e-5)


def test_a_part_that_is_not_there_is_refused(small_set: Path, beats: Path, tmp_path: Path) -> None:
    words = lora_words(small_set, tmp_path / "run", beats, "optim.groups=[{part: encoder.frontend, lr: 1}]")
    with pytest.raises(
        UserError, match=r"nothing that learns is called encoder\.frontend…: there is encoder\.backbone\."
    ):
        train_ddp.main(words)


# Embeddings that are kept


def passes(patch: pytest.MonkeyPatch) -> list[int]:
    """How many clips each pass embeds from here on."""
    found: list[int] = []

    def counted(task, loader, ranks, clips, *more):
        found.append(len(clips))
        return embed_clips(task, loader, ranks, clips, *more)

    patch.setattr("asd.evaluate.evaluator.embed_clips", counted)
    return found


@pytest.fixture
def frozen(small_set: Path, beats: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Words of a run of the frozen small BEATs that keeps its embeddings."""

    def words_of(name: str, *more: str) -> list[str]:
        chosen = ["--config", str(CONFIGS["encoder_frozen"]), f"data.shards={small_set}", f"run.dir={tmp_path / name}"]
        keep = [f"backbone.weights={beats}", "backbone.layers=[2]", f"evaluate.cache_dir={tmp_path / 'kept'}"]
        return [*chosen, *keep, "evaluate.scorers=[{name: knn, view: layer_2}]", *more]

    return words_of


def test_a_second_scorer_and_an_export_cost_no_second_pass(
    frozen: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_inline(monkeypatch)
    count = passes(monkeypatch)
    assert train_ddp.main(frozen("run")) == 0
    other = "evaluate.scorers=[{name: mahalanobis, view: layer_2}, {name: knn, view: layer_2}]"
    scored = scores_of(score_run(tmp_path / "run", tmp_path / "scored", other))
    assert list(scored) == ["mahalanobis_layer_2", "knn_layer_2"]
    assert scored["knn_layer_2"] == scores_of(tmp_path / "run" / "evaluations" / "step_00000000")["knn_layer_2"]
    assert evaluation.main(["export", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "detector.pt")]) == 0
    assert train_ddp.main(frozen("another", other)) == 0
    assert count == [128]
    assert len(list((tmp_path / "kept").iterdir())) == 1


@pytest.mark.parametrize("word", ["backbone.layers=[3]", "backbone.pool=mean", "other weights", "evaluate.first_s=0.5"])
def test_what_would_embed_otherwise_does(
    word: str, frozen: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_inline(monkeypatch)
    count, few = passes(monkeypatch), ["evaluate.fit_clips_per_class=2", "evaluate.test_clips_per_class=2"]
    few += ["evaluate.scorers=[{name: knn}]"]
    assert train_ddp.main(frozen("run", *few)) == 0
    if word == "other weights":
        word = f"backbone.weights={beats_file(tmp_path, {n: 1.01 * tensor for n, tensor in beats_tensors().items()})}"
    assert train_ddp.main(frozen("other", *few, word)) == 0
    assert len(count) == 2
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_kept_embeddings_that_are_damaged_or_of_fewer_clips_are_made_again(
    frozen: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    score_inline(monkeypatch)
    count = passes(monkeypatch)
    assert train_ddp.main(frozen("few", "evaluate.fit_clips_per_class=2", "evaluate.test_clips_per_class=2")) == 0
    assert train_ddp.main(frozen("all")) == 0
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:-40])
    score_run(tmp_path / "all", tmp_path / "scored")
    assert len(count) == 3
    assert count[0] < count[1] == count[2] == 128
    assert "cannot be read" in caplog.text


def test_what_trains_keeps_no_embeddings(small_set: Path, beats: Path, tmp_path: Path) -> None:
    words = lora_words(small_set, tmp_path / "run", beats, f"evaluate.cache_dir={tmp_path}")
    with pytest.raises(UserError, match=r"evaluate\.cache_dir keeps embeddings of what is not trained, task class"):
        train_ddp.main(words)
