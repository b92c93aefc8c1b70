"""Which settings a run may change when it goes on, and which its evaluation may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydantic
import pytest
import torch

from asd.commands.open_run import load_run
from asd.config.identity import EVALUATION, RESUMING, differences, in_words
from asd.config.load import dump_yaml, load_config
from asd.config.run import RunConfig
from asd.config.saved import config_of
from asd.errors import UserError
from asd.run_folder import checkpoint
from asd.run_folder.checkpoint import Payload
from asd.run_folder.paths import RunFolder
from tests.support.launch import TINY
from tests.support.narrow import CONFIGS

WORDS = ("data.shards=set", "run.dir=run")


def changed(*words: str, free: frozenset[str] = RESUMING) -> str:
    return in_words(differences(load_config(TINY, WORDS), load_config(TINY, [*WORDS, *words]), free))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("frontend.n_mels=16", "frontend.n_mels (32, now 16)"),
        ("frontend.f_max=4000", "frontend.f_max (None, now 4000.0)"),
        ("frontend.name=tast", "frontend.name (log_mel, now tast)"),
        ("windows={frames: 16, hop: 8}", "windows (None, now {'frames': 16, 'hop': 8"),
        ("backbone.norm=batch", "backbone.norm (group, now batch)"),
        ("loss.scale=16", "loss.scale (30.0, now 16.0)"),
        ("loss.margin=0.2", "loss.margin (0.05, now 0.2)"),
        ("mixup.alpha=0.3", "mixup.alpha (1.0, now 0.3)"),
        ("data.val_fraction=0.2", "data.val_fraction (0.05, now 0.2)"),
        ("data.machine_ids=['00']", "data.machine_ids ([], now ['00'])"),
        ("data.streams.domains=[source]", "data.streams.domains"),
        ("optim.lr=1e-3", "optim.lr (0.0002, now 0.001)"),
        ("optim.schedule.warmup_epochs=2", "optim.schedule.warmup_epochs (1"),
        ("train.seed=1", "train.seed (0, now 1)"),
        ("train.global_batch=32", "train.global_batch (16, now 32)"),
        ("train.clip_norm=1", "train.clip_norm"),
        ("init_from=runs/other", "init_from (None, now runs/other)"),
    ],
)
def test_what_a_network_hears_or_learns_makes_the_run(word: str, said: str) -> None:
    assert changed(word).startswith(said)
    assert changed(word, free=EVALUATION).startswith(said)


@pytest.mark.parametrize(
    "word",
    [
        "data.shards=elsewhere",
        "data.threads=7",
        "evaluate.select=last",
        "distributed.precision=bf16",
        "distributed.timeout_s=5",
    ],
)
def test_how_it_is_computed_and_scored_does_not(word: str) -> None:
    assert changed(word) == changed(word, free=EVALUATION) == ""


@pytest.mark.parametrize(
    "word", ["train.epochs=9", "train.steps=9", "train.accumulate=2", "train.log_every=5", "train.ema=0.99"]
)
def test_a_run_may_be_made_longer_but_an_evaluation_has_no_length(word: str) -> None:
    assert changed(word) == ""
    assert changed(word, free=EVALUATION).startswith("train.")


def test_of_many_the_first_are_named() -> None:
    said = changed("train.seed=1", "train.global_batch=32", "loss.scale=16", "backbone.norm=batch", "optim.lr=1")
    assert said.endswith(" and 2 more")
    assert said.count("now") == 3


def keys(model: pydantic.BaseModel, prefix: str = "") -> Iterator[str]:
    for name in type(model).model_fields:
        yield prefix + name
        if isinstance(value := getattr(model, name), pydantic.BaseModel):
            yield from keys(value, f"{prefix}{name}.")


def test_every_free_setting_is_one() -> None:
    """A renamed setting does not stay behind here, free for whoever takes the name next."""
    assert set(keys(load_config(TINY, WORDS))) | set(keys(load_config(CONFIGS["encoder_frozen"]))) >= RESUMING


def run_of(folder: Path, config: RunConfig) -> Path:
    (folder / "config.yaml").write_text(dump_yaml(config))
    return folder


def test_words_of_eval_change_evaluation_alone(tmp_path: Path) -> None:
    folder = run_of(tmp_path, load_config(TINY, WORDS))
    run = load_run(folder, ["evaluate.select=last", "data.threads=3", "train.seed=0"])
    assert (run.config.evaluate.select, run.config.data.threads) == ("last", 3)
    with pytest.raises(UserError, match=r"another loss.scale \(30.0, now 16.0\), which no word of eval.py changes"):
        load_run(folder, ["evaluate.select=last", "loss.scale=16"])


def test_a_config_of_another_version_is_named(tmp_path: Path) -> None:
    run_of(tmp_path, load_config(TINY, WORDS))
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text() + "telepathy: 1\n")
    with pytest.raises(UserError, match=r"config.yaml: .*telepathy.*\(saved by another version of this program"):
        load_run(tmp_path)


def save(folder: RunFolder, step: int, config_yaml: str) -> Path:
    meta = {"step": step, "epoch": 1.0, "world_size": 1}
    return checkpoint.save(folder.checkpoints, step, Payload({"w": torch.zeros(1)}, {}, None, {}, meta, config_yaml))


def test_a_checkpoint_of_another_version_lets_no_other_run_go_on(tmp_path: Path) -> None:
    """Its settings cannot be compared; before the first evaluation, too."""
    folder, own = RunFolder(tmp_path), dump_yaml(load_config(TINY, WORDS))
    save(folder, 1, own)
    newest = save(folder, 2, own + "telepathy: 1\n")
    with pytest.raises(UserError, match=rf"{newest}/config.yaml: .*telepathy.*\(saved by another version"):
        config_of(folder)


def test_instead_of_a_damaged_checkpoint_the_one_before_says_whose_the_run_is(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path), load_config(TINY, WORDS)
    save(folder, 1, dump_yaml(config))
    damaged = save(folder, 2, dump_yaml(config)) / "config.yaml"
    damaged.write_bytes(b"\xff" * damaged.stat().st_size)
    assert config_of(folder) == config
    (checkpoint.step_path(folder.checkpoints, 1) / "config.yaml").unlink()
    assert config_of(folder) is None


def test_without_the_runs_own_config_that_of_the_newest_checkpoint_counts(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path), load_config(TINY, WORDS)
    with pytest.raises(UserError, match="is not a run folder: it has no config"):
        load_run(tmp_path)
    save(folder, 1, dump_yaml(config))
    assert load_run(tmp_path).config == config
