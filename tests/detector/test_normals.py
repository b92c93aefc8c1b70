"""Normal recordings that a detector keeps: which, and that scorers can be fitted to them anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydantic
import pytest
import torch

from asd.detector import read_detector
from asd.detector.normals import Normals, core_rows, kept_columns
from asd.detector.picture import BANDS, COLUMNS, band_edges, in_decibels, picture_of
from asd.scorers import ScorerConfig, build_scorer
from tests.support.embedded import embedded_of
from tests.support.scored import TEST, TRAIN


def config(name: str) -> ScorerConfig:
    found: ScorerConfig = pydantic.TypeAdapter(ScorerConfig).validate_python({"name": name})
    return found


def test_a_scorer_fitted_to_them_says_the_same(good: Path) -> None:
    """The file of `good` keeps all clips, so the bank made of them is the bank of the scorer."""
    file = read_detector(good)
    scorer, again = build_scorer(config("knn")), build_scorer(config("knn"))
    scorer.fit(TRAIN)
    for own in range(len(file.classes)):
        again.fit(file.normals_of(own, good).table(own, {}))
        clips = TEST.select(TEST.class_index == own)
        np.testing.assert_array_equal(again.score(clips), scorer.score(clips))


def test_what_no_scorer_reads_is_not_kept(good: Path) -> None:
    columns = read_detector(good).normals[0].columns
    assert columns.keys() == {"clip_index", "domain", "recording", "held_out", "embedding", "features"}
    assert kept_columns([config("untrained_knn")]) == {"features"}
    assert kept_columns([config("softmax"), config("knn")]) == {"features", "logits", "embedding"}
    assert kept_columns([config("selective_mahalanobis")]) == {"features", "embedding"}
    assert kept_columns([config("fused")]) == {"features", "embedding"}


def test_a_clip_is_kept_with_all_of_its_windows() -> None:
    clip = torch.arange(30).repeat_interleave(4)
    embedding = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)).repeat_interleave(4, 0)
    rows = embedded_of(embedding, clip_index=clip, class_index=torch.zeros(120, dtype=torch.int64))
    for count, clips in ((120, 30), (41, 10), (3, 1)):
        core = core_rows(rows, count)
        assert len(clip[core].unique()) == clips
        assert len(core) == 4 * clips


@pytest.mark.parametrize("rate", [1000, 8000, 16_000, 44_100, 192_000])
def test_a_tone_lies_in_its_band(rate: int) -> None:
    edges = band_edges(rate)
    assert edges[-1] == pytest.approx(rate / 2)
    for band in (3, 20, 60):
        time = np.arange(2 * rate) / rate
        tone = (8000 * np.sin(2 * np.pi * edges[band + 1] * time)).astype(np.int16)
        tone[rate:] //= 100
        picture, (low, high) = picture_of(tone, rate)
        assert (picture.shape, picture.dtype) == ((BANDS, COLUMNS), torch.uint8)
        decibels = in_decibels(picture, low, high)
        assert int(decibels[:, : COLUMNS // 2 - 4].mean(1).argmax()) == band
        louder = decibels[band, : COLUMNS // 2 - 4].mean() - decibels[band, COLUMNS // 2 + 4 :].mean()
        assert float(louder) == pytest.approx(40.0, abs=1.0)


def test_silence_and_a_single_sample_have_a_picture() -> None:
    for samples in (np.zeros(8000, np.int16), np.ones(1, np.int16)):
        picture, (low, high) = picture_of(samples, 16_000)
        assert in_decibels(picture, low, high).isfinite().all()


def test_names_and_seconds_come_back(good: Path) -> None:
    file = read_detector(good)
    rows = TRAIN.select(TRAIN.class_index == 1).per_clip()
    normals = file.normals[1]
    assert normals.names == tuple(f"{clip}.wav" for clip in rows.clip_index.tolist())
    assert set(normals.seconds) == {0.5}
    assert normals.picture(2).shape == (BANDS, COLUMNS)
    assert isinstance(normals, Normals)
