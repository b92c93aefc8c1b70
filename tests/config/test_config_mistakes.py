"""Keys, values and files that cannot be read as a config are refused by one line."""

from __future__ import annotations

import pytest
import yaml

from tests.support.configs import CONFIGS, DEFAULT, load, refusal, written


@pytest.mark.parametrize(
    ("word", "key", "nearest"),
    [
        ("train.epoch=3", "train.epoch", "train.epochs"),
        ("train.globalbatch=3", "train.globalbatch", "train.global_batch"),
        ("loss.marign=0.1", "loss.marign", "loss.margin"),
        ("optim.schedule.t0=3", "optim.schedule.t0", "optim.schedule.t_0"),
        ("backbone.dropuot=0.1", "backbone.dropuot", "backbone.dropout"),
        ("evalute.every_epochs=1", "evalute", "evaluate"),
        ("data.shard=x", "data.shard", "data.shards"),
        ("optim.learning_rate=1", "optim.learning_rate", "optim.lr"),
        ("optim.warmup_epochs=1", "optim.warmup_epochs", "optim.schedule.warmup_epochs"),
        ("lr=1", "lr", "optim.lr"),
        ("evaluate.scorers=[{name: knn, kk: 2}]", "evaluate.scorers.0.kk", "evaluate.scorers.0.k"),
    ],
)
def test_an_unknown_key_names_the_nearest(word, key, nearest):
    assert refusal(word) == f"{DEFAULT}: unknown key {key}, did you mean {nearest}?"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("backbone.name=mobilefacenet", "backbone.depths=[1, 1, 1, 1]"),
            "backbone.depths is not a setting of mobilefacenet",
        ),
        (("loss.name=softmax", "loss.margin=0.1"), "loss.margin is not a setting of softmax"),
        (("frontend.mel.hop=256",), "frontend.mel is not a setting of log_mel, did you mean frontend."),
    ],
)
def test_a_key_of_another_part_is_told_from_an_unknown_one(words, told):
    assert refusal(*words).startswith(f"{DEFAULT}: {told}")


def test_an_unknown_key_like_no_other_is_named_alone():
    assert refusal("zzzzqqqq=1") == f"{DEFAULT}: unknown key zzzzqqqq"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("train.epochs=many", "train.epochs=many: Input should be a valid integer"),
        ("train.epochs=0", "train.epochs=0: Input should be greater than 0"),
        ("train.epochs=1.5", "train.epochs=1.5: Input should be a valid integer"),
        ("train.seed=-1", "train.seed=-1: Input should be greater than or equal to 0"),
        ("data.val_fraction=1", "data.val_fraction=1: Input should be less than 1"),
        ("optim.name=adamm", "optim.name=adamm: Input should be 'adam', 'adamw', 'sgd' or 'lars'"),
        ("backbone.depths=[1, 2]", "backbone.depths"),
        ("loss.margin=2", "loss.margin=2: Input should be less than or equal to 1.57"),
        ("optim.schedule.t_up=10", "t_up 10 must be shorter than t_0 10"),
        ("optim.betas=[2, 0.9]", "optim.betas.0=2: Input should be less than 1"),
        ("optim.betas=[0.9, -1]", "optim.betas.1=-1: Input should be greater than or equal to 0"),
        ("optim.lr=.inf", "optim.lr=inf: Input should be a finite number"),
        ("optim.lr=.nan", "optim.lr=nan: Input should be"),
        ("optim.lr=0", "optim.lr=0: Input should be greater than 0"),
        ("optim.weight_decay=.inf", "optim.weight_decay=inf: Input should be a finite number"),
        ("optim.schedule.t_mult=.inf", "optim.schedule.t_mult=inf: Input should be a finite number"),
        ("frontend.hop=3", "frontend: hop=3 must lie between 16 (n_fft/64) and 1024 (n_fft)"),
        ("frontend.hop=2000", "frontend: hop=2000 must lie between 16"),
        ("frontend.n_fft=32", "frontend.n_fft=32: Input should be greater than or equal to 64"),
        ("frontend.n_mels=600", "frontend: n_mels=600 is more than the 513 bins of n_fft=1024"),
        ("frontend={name: log_mel, f_min: 500, f_max: 400}", "frontend: f_min=500 must be below f_max=400"),
        ("frontend={name: tast, mel: {hop: 3}}", "frontend.mel: hop=3 must lie between 16"),
        ("frontend={name: tast, mel: {n_fft: 4096, hop: 1025}}", "frontend: mel.hop=1025 must be at most 1024"),
        ("data.crop_s=1.0e+9", "data.crop_s=1000000000.0: Input should be less than or equal to 600"),
        ("data.crop_s=0.00001", "data.crop_s=1e-05: Input should be greater than or equal to 0.05"),
        ("evaluate.first_s=1.0e+9", "evaluate.first_s=1000000000.0: Input should be less than or equal to 600"),
        ("evaluate.first_s=0.001", "evaluate.first_s=0.001: Input should be greater than or equal to 0.05"),
        ("evaluate.scorers=[{name: knn}, {name: knn, k: 1}]", "evaluate.scorers: two scorers would be called knn"),
        ("backbone.depths=[0, 0, 0, 0]", "backbone.depths.0=0: Input should be greater than 0"),
        ("backbone={name: resnet50, depths: [3, -1, 6, 3]}", "backbone.depths.1=-1: Input should be greater than 0"),
        ("backbone={name: mobilefacenet, bottlenecks: []}", "backbone.bottlenecks: Tuple should have at least 1 item"),
        ("backbone={name: mobilefacenet, bottlenecks: [[2, 8, 0, 2]]}", "backbone.bottlenecks.0.2=0: Input should be"),
        ("train.seed=99999999999999999999999", "Input should be less than 9223372036854775808"),
        ("mixup=yes", "mixup"),
        ("train=5", "train"),
        ("data.shards.x=5", "data.shards"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(word, told):
    message = refusal(word)
    assert message.startswith(f"{DEFAULT}: ")
    assert told in message


def test_an_unknown_part_is_named_with_those_that_exist():
    message = refusal("loss.name=arcfaec")
    assert "loss" in message
    assert "'arcface'" in message
    assert "'softmax'" in message


@pytest.mark.parametrize(
    "words", [("train.steps=10", "train.epochs=3"), ("train.epochs=null",)], ids=["both", "neither"]
)
def test_epochs_or_steps_but_not_both(words):
    assert "give train.epochs or train.steps, one of the two" in refusal(*words)


STATISTICS = CONFIGS / "statistics.yaml"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("train.epochs=3", "task untrained trains nothing: leave train.epochs and train.steps out"),
        ("optim.lr=1e-3", "task untrained trains nothing: leave optim out"),
        ("train.ema=0.9", "task untrained has no trainable weights: leave train.ema out"),
        ("evaluate.select=clean", "task untrained has no loss of held-out clips: set evaluate.select=last (or oracle)"),
        ("loss.name=softmax", "task untrained has no loss: leave it out"),
        (
            "evaluate.scorers=[{name: knn, view: twfr_0.98}]",
            "evaluate.scorers: knn reads view twfr_0.98 of the backbone: did you mean twfr_0.9?",
        ),
        (
            "evaluate.scorers=[{name: softmax}]",
            "evaluate.scorers: softmax reads logits, which task untrained does not give: "
            "name others, such as knn, mahalanobis",
        ),
    ],
)
def test_what_learns_nothing_takes_no_settings_of_learning(word, told):
    assert refusal(word, path=STATISTICS) == f"{STATISTICS}: {told}"


def test_a_network_without_views_says_so():
    told = "evaluate.scorers: knn reads view mean of the backbone: it has none"
    assert refusal("evaluate.scorers=[{name: knn, view: mean}]") == f"{DEFAULT}: {told}"


def test_selection_needs_validation_clips():
    assert "evaluate.select=clean needs data.val_fraction above 0" in refusal("data.val_fraction=0")
    load("data.val_fraction=0", "evaluate.select=oracle")


@pytest.mark.parametrize("word", ["train.epochs", "=5", "--epochs"])
def test_a_word_that_sets_nothing_is_refused(word):
    assert f"{word!r} is not of the form key=value" in refusal(word)


def test_a_value_that_is_not_yaml_is_refused():
    assert refusal("train.epochs=[1") == "'train.epochs=[1': the value is not yaml"


def test_what_is_missing_is_named(tmp_path):
    tree = yaml.safe_load(DEFAULT.read_text())
    del tree["optim"]
    assert refusal(path=written(tmp_path, yaml.safe_dump(tree))) == f"{tmp_path}/mine.yaml: optim is missing"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train: {epochs: 3", "is not yaml"),
        ("a: b: c", "is not yaml"),
        ("train:\n\tepochs: 3", "is not yaml"),
        ("just words", "must contain keys and values"),
        ("- 1\n- 2", "must contain keys and values"),
        ("", "must contain keys and values"),
    ],
)
def test_what_is_not_yaml_is_refused(tmp_path, text, told):
    assert told in refusal(path=written(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert "is not yaml" in refusal(path=path)


def test_yaml_makes_no_objects(tmp_path):
    text = "!!python/object/apply:os.system ['touch " + str(tmp_path / "victim") + "']"
    assert "is not yaml" in refusal(path=written(tmp_path, text))
    assert not (tmp_path / "victim").exists()


def test_a_file_that_is_not_there_names_the_nearest():
    missing = CONFIGS / "dcase2020_integrate.yaml"
    assert refusal(path=missing) == f"{missing} does not exist; did you mean {DEFAULT}?"


def test_a_folder_is_called_one():
    assert refusal(path=CONFIGS) == f"{CONFIGS} is a folder: name a yaml file, such as {min(CONFIGS.glob('*.yaml'))}"
