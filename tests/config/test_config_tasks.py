"""Tasks, streams and windows: what fits together, and what is refused."""

from __future__ import annotations

import pytest

from asd.config.checks import check_batch, check_frames
from asd.config.load import dump_yaml, load_config
from asd.errors import UserError
from asd.tasks.build import build_task
from tests.support.configs import load, refusal
from tests.support.parts import batch_of

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
