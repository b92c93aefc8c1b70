"""Batches, crops and sample rates that do not fit ranks or network are refused before anything starts."""

from __future__ import annotations

import pytest

from asd.config.checks import check_batch, check_frames
from asd.config.load import load_config
from asd.errors import UserError
from asd.frontends import LogMelConfig, build_frontend
from tests.support.configs import CONFIGS, load


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
