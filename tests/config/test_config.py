"""Configs as users write them: every shipped file, every kind of slip, each told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import eval as eval_command
import train_ddp
from asd.config.checks import check_batch, check_frames
from asd.config.load import dump_yaml, load_config
from asd.errors import UserError
from asd.frontends import LogMelConfig, build_frontend
from asd.losses import SoftmaxConfig
from asd.tasks.build import build_task
from tests.support.parts import batch_of

CONFIGS = Path(__file__).parents[2] / "configs"
DEFAULT = CONFIGS / "dcase2020_integrated.yaml"


def load(*overrides: str):
    return load_config(DEFAULT, overrides)


def refusal(*overrides: str, path: Path = DEFAULT) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


# Overrides


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


# Slips


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


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


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


# The global batch


@pytest.mark.parametrize(
    ("words", "ranks"), [((), 1), ((), 2), ((), 8), (("train.accumulate=2",), 4), (("mixup=null",), 32)]
)
def test_a_batch_that_divides_is_taken(words, ranks):
    check_batch(load(*words), ranks)


@pytest.mark.parametrize(
    ("words", "ranks", "told"),
    [
        ((), 3, "train.global_batch=64 cannot be divided by 3 ranks: use a multiple of 3, such as 66"),
        (
            ("train.accumulate=3",),
            2,
            "cannot be divided by 2 ranks × 3 accumulated parts: use a multiple of 6, such as 66",
        ),
        (
            ("mixup=null",),
            64,
            "1 clip, over which backbone.norm=batch has no statistics: use a train.global_batch of 128",
        ),
        (("mixup=null", "train.global_batch=1"), 1, "use a train.global_batch of 2 or more, or backbone.norm=group"),
        (("mixup=null", "backbone.norm=sync", "train.global_batch=1"), 1, "backbone.norm=sync has no statistics"),
        ((), 16, "each forward pass sees 4 clips, which mixup.group_size=8 does not divide"),
        (("train.global_batch=24",), 2, "use a train.global_batch that is a multiple of 16"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused(words, ranks, told):
    with pytest.raises(UserError) as caught:
        check_batch(load(*words), ranks)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.crop_s=2"], "data.crop_s=2.0 does not fit a network for exactly 313 frames"),
        (["evaluate.first_s=null"], "evaluate.first_s=None does not fit"),
        (["frontend.frames=100"], r"different numbers of frames: \[100, 313\]"),
    ],
)
def test_crops_that_do_not_fit_a_network_of_one_length_are_refused(words, said):
    config = load_config(CONFIGS / "tastgram_noisy_arcmix_paper.yaml", words)
    with pytest.raises(UserError, match=said):
        check_frames(config, 16_000)
    check_frames(load_config(CONFIGS / "tastgram_noisy_arcmix_paper.yaml"), 16_000)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"f_max": 9_000}, "f_max=9000 is above half the sample rate 16000"),
        ({"f_min": 8_000}, "f_min=8000 is not below half the sample rate 16000"),
        ({"n_fft": 256}, r"frontend: \d+ of n_mels=128 bands hold no bin of n_fft=256 at 16000 Hz"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_mel_bands_that_do_not_fit_the_sample_rate_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        build_frontend(LogMelConfig(**{"hop": 128, **settings}), 16_000)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_frontends_fit_16_khz(path):
    build_frontend(load_config(path).frontend, 16_000)


# Tasks, streams and windows

VICREG = ["task.name=vicreg", "loss=null", "mixup=null", "evaluate.select=last", "evaluate.scorers=[{name: knn}]"]
CCSA = ["task.name=ccsa", "mixup=null", "data.streams.target=rows", "data.streams.target_rows=16"]
PAIRS = ["task.name=interpolation", "mixup=null", "data.streams.target=pairs"]
REBUILT = ["loss=null", "mixup=null", "backbone=null", "evaluate.scorers=[{name: reconstruction}]"]
AUTOENCODER = ["task={name: reconstruction, network: {name: autoencoder}}", "windows={frames: 5, hop: 1}", *REBUILT]
SAMPLES = ["task={name: reconstruction, network: {name: wavenet_mu_law}}", *REBUILT]
OUTLIERS = ["data.streams.outliers=other_machines", "data.streams.outlier_rows=32"]
TARGET_ROWS = ["data.streams.target=rows", "data.streams.target_rows=16"]


@pytest.mark.parametrize(
    ("words", "streams"),
    [
        (VICREG, {"own": 64}),
        (CCSA, {"own": 48, "target": 16}),
        ([*CCSA, *OUTLIERS], {"own": 16, "target": 16, "outliers": 32}),
        (PAIRS, {"own": 32, "target": 32}),
        (AUTOENCODER, {"own": 64}),
        (SAMPLES, {"own": 64}),
        (["mixup=null", *OUTLIERS], {"own": 32, "outliers": 32}),
        (["data.streams.target=one_section"], {"own": 64}),
        ([*AUTOENCODER, *TARGET_ROWS], {"own": 48, "target": 16}),
    ],
    ids=["vicreg", "ccsa", "ccsa, outliers", "pairs", "autoencoder", "samples", "outliers", "section", "target rows"],
)
def test_every_task_and_its_streams_make_a_config_that_survives_writing(words, streams, tmp_path):
    config = load(*words)
    assert config.data.streams.shares(config.train.global_batch) == streams
    (tmp_path / "again.yaml").write_text(dump_yaml(config))
    assert load_config(tmp_path / "again.yaml") == config
    for ranks in (1, 2, 4, 8):
        check_batch(config, ranks)
    check_frames(config, 16_000)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["backbone=null"], "backbone is missing: task classification needs one"),
        (["loss=null"], "loss is missing: task classification needs one"),
        ([*VICREG, "loss={name: softmax}"], "task vicreg has no loss: leave it out"),
        ([*VICREG, "backbone=null"], "backbone is missing: task vicreg needs one"),
        ([*AUTOENCODER, "backbone={name: resnet50}"], "task reconstruction has no backbone: leave it out"),
        ([*VICREG, "mixup={}"], "task vicreg does its own mixing or none: leave mixup out"),
        ([*PAIRS, "mixup={}"], "task interpolation does its own mixing or none: leave mixup out"),
        ([*VICREG, "evaluate.select=clean"], "task vicreg has no loss of held-out clips: set evaluate.select=last"),
        (
            [*VICREG, "evaluate.scorers=[{name: softmax}]"],
            "evaluate.scorers: softmax reads logits, which task vicreg does not give: name others, such as knn",
        ),
        (["evaluate.scorers=[{name: reconstruction}]"], "reads errors, which task classification does not give"),
        ([*SAMPLES, "evaluate.scorers=[{name: selective_mahalanobis}]"], "reads residuals, which task reconstruction"),
        (["task={name: ccsa}", "mixup=null"], "data.streams.target=none does not fit task ccsa: set it to rows"),
        ([*CCSA, "data.streams={target: pairs}"], "data.streams.target=pairs does not fit task ccsa: set it to rows"),
        (
            ["task={name: interpolation}", "mixup=null"],
            "data.streams.target=none does not fit task interpolation: set it to pairs",
        ),
        (
            ["mixup=null", "data.streams.target=pairs"],
            "data.streams.target=pairs does not fit task classification: set it to none or rows or one_section",
        ),
        (
            [*VICREG, *OUTLIERS],
            "task vicreg has no use for outliers: set data.streams.outliers=none",
        ),
        ([*PAIRS, *OUTLIERS], "task interpolation has no use for outliers: set data.streams.outliers=none"),
        ([*PAIRS, "train.global_batch=63"], "data.streams.target=pairs needs an even train.global_batch, not 63"),
        ([*VICREG, *TARGET_ROWS], "data.streams.target=rows does not fit task vicreg: set it to none or one_section"),
        (
            ["mixup=null", *OUTLIERS, "data.streams.outlier_rows=64"],
            "data.streams leaves the machines' own clips 0 of 64 rows of a batch",
        ),
        (
            [*CCSA, "data.streams.target_rows=70"],
            "data.streams leaves the machines' own clips -6 of 64 rows of a batch",
        ),
        (OUTLIERS, "mixup and data.streams cannot be combined: leave one of them out"),
        ([*CCSA, "train.accumulate=2"], "train.accumulate and data.streams cannot be combined: set train.accumulate=1"),
        (
            [*VICREG, "train.accumulate=2"],
            "task vicreg compares all clips of a batch, which train.accumulate=2 would split: set it to 1",
        ),
        (
            ["data.streams.target=rows"],
            "data.streams: target=rows and target_rows belong together: give both or neither",
        ),
        (["data.streams.outlier_rows=8"], "data.streams: outliers and outlier_rows belong together"),
        (["data.streams.domains=[mars]"], "data.streams.domains.0=mars: Input should be 'source' or 'target'"),
        ([*CCSA, "task.compare=maps"], "task.compare=maps needs a backbone that shows its maps, cp_resnet"),
        (
            [*CCSA, "task.compare=maps", "backbone={name: cp_resnet}", "windows={frames: 8, hop: 8}"],
            "task.compare=maps compares whole clips: leave windows out",
        ),
        ([*CCSA, "task.da_lambda=1.5"], "task.da_lambda=1.5: Input should be less than or equal to 1"),
        (["task.outlier_weight=0"], "task.outlier_weight=0: Input should be greater than 0"),
        ([*AUTOENCODER, "windows=null"], "task.network autoencoder needs windows, such as {frames: 5, hop: 1}"),
        ([*SAMPLES, "windows={frames: 5, hop: 1}"], "wavenet_mu_law takes the waveform itself: leave windows out"),
        (["windows={frames: 0, hop: 1}"], "windows.frames=0: Input should be greater than 0"),
        (["mixup.uniform=[0.9, 0.5]"], "mixup.uniform: give two numbers from 0 to 1, the smaller first"),
        (["mixup.alpha=.inf"], "mixup.alpha=inf: Input should be a finite number"),
        (["model.freeze=everything"], "model.freeze=everything: Input should be 'none', 'all_but_centres'"),
        (["task.name=clasification"], "task"),
    ],
)
def test_parts_that_do_not_fit_the_task_are_refused(words, told):
    assert told in refusal(*words)


@pytest.mark.parametrize(
    ("words", "ranks", "told"),
    [
        (
            CCSA,
            5,
            "the batch's 48 rows of stream own cannot be divided by 5 ranks: use a multiple of 5, such as 50",
        ),
        (
            [*CCSA, "data.streams.target_rows=18"],
            4,
            "the batch's 46 rows of stream own cannot be divided by 4 ranks",
        ),
        (
            ["mixup=null", *OUTLIERS, "data.streams.outlier_rows=34", "train.global_batch=66"],
            4,
            "the batch's 34 rows of stream outliers cannot be divided by 4 ranks: use a multiple of 4, such as 36",
        ),
        ([*PAIRS, "train.global_batch=20"], 4, "the batch's 10 rows of stream own cannot be divided by 4 ranks"),
        (
            [*VICREG, "train.global_batch=6"],
            2,
            "each forward pass sees 3 clips, which the pair of task vicreg does not divide: use a train.global_batch "
            "that is a multiple of 4",
        ),
        (
            [*VICREG, "train.global_batch=4"],
            2,
            "each forward pass sees 1 clip, over which backbone.norm=batch has no statistics: use a train.global_batch "
            "of 8 or more",
        ),
        (
            [*VICREG, "train.global_batch=2", "backbone.norm=sync"],
            1,
            "over which backbone.norm=sync has no statistics: use a train.global_batch of 4 or more",
        ),
        (
            [*VICREG, "train.global_batch=4", "backbone.norm=sync"],
            2,
            "over which task.expander.norm=batch has no statistics: use a train.global_batch of 8 or more, or "
            "task.expander.norm=group",
        ),
        (
            [*AUTOENCODER, "train.global_batch=2"],
            2,
            "over which task.network.norm=batch has no statistics: use a train.global_batch of 4 or more",
        ),
    ],
)
def test_a_batch_of_streams_that_does_not_divide_is_refused(words, ranks, told):
    with pytest.raises(UserError) as caught:
        check_batch(load(*words), ranks)
    assert told in str(caught.value)


def test_the_least_batch_of_pairs_trains():
    """As `check_batch` says: with one pair a rank, batch statistics would be those of one clip."""
    config = load(*VICREG, "backbone={name: cp_resnet, width: 8}", "task.expander.widths=[8]", "train.global_batch=4")
    check_batch(config, 1)
    task = build_task(config, 0, 16_000, 1)
    assert task(batch_of([0, 0, 0, 0])).loss.isfinite()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        task(batch_of([0, 0]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["windows={frames: 64, hop: 8}", "data.crop_s=1"],
            "data.crop_s=1.0 gives no window of 64 frames: set it to 2.016",
        ),
        (
            ["frontend={name: waveform}", "backbone={name: multi_branch, fft_samples: null}", "data.crop_s=1"],
            "data.crop_s=1.0 is too short for backbone multi_branch: set it to 1.280 or more",
        ),
        (
            ["backbone={name: cp_resnet}", "windows={frames: 4, hop: 4}"],
            "windows.frames=4 is too short for backbone cp_resnet: set it to 5 or more",
        ),
        (
            [*AUTOENCODER, "windows={frames: 4, hop: 1}"],
            "windows.frames=4 does not fit a network for 5 frames",
        ),
        (
            ["backbone={name: mobilefacenet, pool: conv, conv_frames: 32}", "windows={frames: 64, hop: 8}"],
            "windows.frames=64 does not fit a network for 32 frames",
        ),
    ],
)
def test_windows_that_do_not_fit_crop_or_network_are_refused(words, told):
    with pytest.raises(UserError) as caught:
        check_frames(load(*words), 16_000)
    assert str(caught.value) == told


def test_the_crop_that_the_refusal_names_gives_a_window():
    check_frames(load("windows={frames: 64, hop: 8}", "data.crop_s=2.016"), 16_000)


def test_settings_of_a_task_that_is_not_named_are_those_of_classification():
    assert load("task.outlier_weight=0.25").task.outlier_weight == 0.25
    assert load("task.outlier_weight=0.25").task.name == "classification"
    assert load("task.alpha=0.3", "task.name=vicreg", *VICREG[1:]).task.alpha == 0.3


def test_debug_takes_a_few_clips_of_everything_into_a_folder_of_its_own(tmp_path):
    config = load("debug=true")
    assert config.run.dir == f"{load().run.dir}_debug"
    assert (config.train.epochs, config.train.steps, config.train.log_every) == (None, 3, 1)
    assert (config.evaluate.fit_clips_per_class, config.evaluate.test_clips_per_class) == (4, 4)
    assert config.evaluate.every_epochs == 1
    (tmp_path / "again.yaml").write_text(dump_yaml(config))
    assert load_config(tmp_path / "again.yaml") == config
