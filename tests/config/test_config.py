"""Configs: the shipped files, and words over a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import eval as eval_command
import train_ddp
from asd.config.load import dump_yaml, load_config
from asd.losses import SoftmaxConfig
from tests.support.configs import CONFIGS, load, written


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_config_loads_and_survives_writing(path, tmp_path):
    config = load_config(path)
    assert config.run.dir == f"runs/{path.stem}"
    (tmp_path / "again.yaml").write_text(dump_yaml(config))
    assert load_config(tmp_path / "again.yaml") == config


def test_only_configs_of_our_own_clip_gradients():
    """No source does: S4 with its gradients clipped at 5 moves a thirtieth of what SGD at its learning rate should."""
    clipped = {path.stem for path in CONFIGS.glob("*.yaml") if load_config(path).train.clip_norm is not None}
    assert clipped == {"demo", "own_machines_autoencoder"}


def test_the_default_is_the_integrated_model():
    config = load()
    assert (config.data.shards, config.train.global_batch, config.train.epochs) == ("data/dcase2020", 64, 150)
    assert (config.backbone.name, config.loss.name, config.loss.scale, config.loss.margin) == (
        "resnet50_ir",
        "arcface",
        30,
        0.05,
    )
    assert (config.optim.schedule.t_0, config.optim.schedule.t_mult, config.optim.schedule.t_up) == (10, 2, 2)
    assert config.data.run_length == 8


def test_the_shipped_files_set_only_what_the_tree_holds():
    """Each key of a file is found again in the resolved config, at the same value."""
    for path in CONFIGS.glob("*.yaml"):
        resolved = yaml.safe_load(dump_yaml(load_config(path)))

        def compare(written, found, where: str) -> None:
            if isinstance(written, dict):
                for key, value in written.items():
                    compare(value, found[key], f"{where}.{key}")
            elif isinstance(written, list) and len(written) == len(found):
                for index, (value, other) in enumerate(zip(written, found, strict=True)):
                    compare(value, other, f"{where}.{index}")
            else:
                assert found == written, where

        compare(yaml.safe_load(path.read_text()), resolved, path.stem)


def test_words_override_the_file():
    config = load(
        "train.seed=5", "data.crop_s=2.5", "optim.lr=1e-3", "backbone.depths=[1, 1, 1, 1]", "run.dir=elsewhere",
        "mixup=null", "optim.schedule.t_0=5", "train.epochs=null", "train.steps=70", "resume=never",
    )  # fmt: skip
    assert (config.train.seed, config.data.crop_s, config.optim.lr) == (5, 2.5, 0.001)
    assert config.backbone.depths == (1, 1, 1, 1)
    assert config.run.dir == "elsewhere"
    assert config.mixup is None
    assert (config.optim.schedule.t_0, config.optim.schedule.t_mult) == (5, 2)
    assert (config.train.epochs, config.train.steps) == (None, 70)
    assert config.resume == "never"
    assert config.loss == load().loss


def test_the_last_word_counts():
    assert load("train.seed=5", "train.seed=6").train.seed == 6


def test_a_value_may_hold_an_equals_sign():
    assert load("run.dir=a=b").run.dir == "a=b"


def test_naming_another_part_drops_the_settings_of_the_former():
    config = load("loss.name=softmax", "backbone.name=mobilefacenet", "optim.schedule.name=constant")
    assert config.loss == SoftmaxConfig()
    assert config.backbone.name == "mobilefacenet"
    assert config.backbone.embedding == 128
    assert config.optim.schedule.name == "constant"
    assert config.optim.lr == load().optim.lr


def test_naming_the_same_part_keeps_its_settings():
    assert load("loss.name=arcface").loss == load().loss


@pytest.mark.parametrize(
    "words", [("loss.name=softmax", "loss.label_smoothing=0.2"), ("loss.label_smoothing=0.2", "loss.name=softmax")]
)
def test_settings_of_a_new_part_count_in_any_order(words):
    assert load(*words).loss.label_smoothing == 0.2


def test_naming_another_optimiser_keeps_its_settings():
    config = load("optim.name=adamw", "optim.weight_decay=0.1")
    assert config.optim == load().optim.model_copy(update={"name": "adamw", "weight_decay": 0.1})
    assert config.optim.schedule.name == "warm_restarts"


def test_naming_what_is_there_by_default_drops_nothing():
    path = CONFIGS / "tastgram_arcface.yaml"
    assert load_config(path, ["frontend.mel.name=log_mel"]) == load_config(path)


@pytest.mark.parametrize(
    ("word", "length"),
    [("train.steps=10", (None, 10)), ("train.epochs=3", (3, None)), ("train.steps=null", (150, None))],
)
def test_a_word_for_the_length_takes_the_place_of_the_other_one(word, length):
    train = load(word).train
    assert (train.epochs, train.steps) == length


def test_epochs_take_the_place_of_steps(tmp_path):
    path = written(tmp_path, dump_yaml(load("train.steps=10")))
    train = load_config(path, ["train.epochs=3"]).train
    assert (train.epochs, train.steps) == (3, None)


def test_words_may_stand_anywhere():
    args = train_ddp.parse_args(["a=1", "--config", "x.yaml", "b=2", "--check"])
    assert (args.config, args.check, args.overrides) == (Path("x.yaml"), True, ["a=1", "b=2"])
    args = eval_command.parse_args(["score", "a=1", "--run", "runs/x", "b=2", "--checkpoint", "last", "c=3"])
    assert (args.run, args.checkpoint, args.overrides) == (Path("runs/x"), "last", ["a=1", "b=2", "c=3"])


@pytest.mark.parametrize(
    ("parse", "words"),
    [
        (train_ddp.parse_args, ["a=1", "--confg", "x.yaml"]),
        (eval_command.parse_args, ["score", "--run", "runs/x", "a=1", "--chekpoint", "last"]),
    ],
)
def test_an_unknown_option_is_still_refused(parse, words, capsys):
    with pytest.raises(SystemExit):
        parse(words)
    assert f"unrecognized arguments: {words[-2]}" in capsys.readouterr().err
