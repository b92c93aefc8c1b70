"""Classification with proxy outliers, and by class maps."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
import torch
import torch.nn.functional as F

from asd.losses import ArcFaceConfig, SoftmaxConfig
from tests.support.parts import FACE, MAPS, WINDOWS, batch_of, spoilt, step_of, task_of

WITH_OUTLIERS = [0, 2, 1, 1, -1, -1]


@pytest.mark.parametrize("windows", [None, WINDOWS], ids=["clips", "windows"])
@pytest.mark.parametrize("loss", [SoftmaxConfig(), ArcFaceConfig(margin=0.3)], ids=["softmax", "arcface"])
def test_outliers_are_pulled_to_the_uniform_posterior(windows, loss):
    config = {"name": "classification", "outlier_weight": 0.3}
    task = task_of(task=config, loss=loss, windows=windows, outliers=True)
    batch = batch_of(WITH_OUTLIERS)
    rows = task.encoder(batch.waveform / 32768)
    inliers = []
    for clip, own in enumerate(WITH_OUTLIERS[:4]):
        for row in rows[clip]:
            if loss.name == "softmax":
                logits = task.loss.classifier(row)
            else:
                angles = torch.arccos(F.cosine_similarity(row[None], task.loss.centres))
                angles = angles + 0.3 * F.one_hot(torch.tensor(own), 3)
                logits = task.loss.scale * torch.cos(angles)
            inliers.append(-F.log_softmax(logits, 0)[own])
    outliers = []
    for clip in (4, 5):
        for row in rows[clip]:
            if loss.name == "softmax":
                logits = task.loss.classifier(row)
            else:  # without margin: they have no class that it could be on
                logits = task.loss.scale * F.cosine_similarity(row[None], task.loss.centres)
            outliers.append(-(F.log_softmax(logits, 0) / 3).sum())
    own, undecided = torch.stack(inliers).mean(), torch.stack(outliers).mean()
    found = task(batch)
    assert found.loss.item() == pytest.approx((own + 0.3 * undecided).item(), rel=1e-4)
    assert found.logs["loss_classes"].item() == pytest.approx(own.item(), rel=1e-4)
    assert found.logs["loss_outliers"].item() == pytest.approx(undecided.item(), rel=1e-4)
    assert not any(value.requires_grad for value in found.logs.values())


@pytest.mark.parametrize("row", [1, 4], ids=["inlier", "outlier"])
def test_an_unreadable_clip_weighs_nothing_beside_outliers(row):
    task = task_of(outliers=True)
    batch = batch_of(WITH_OUTLIERS, bad=(row,))
    loss, gradients = step_of(task, batch)
    again, again_gradients = step_of(task, spoilt(batch, row))
    assert loss == again
    assert all(a.equal(b) for a, b in zip(gradients, again_gradients, strict=True))
    readable, _ = step_of(task, batch_of(WITH_OUTLIERS))
    assert readable != loss


def test_outliers_without_weight_would_be_taken_for_a_class():
    with pytest.raises(pydantic.ValidationError, match="outlier_weight"):
        task_of(task={"name": "classification", "outlier_weight": 0.0}, outliers=True)


@pytest.mark.parametrize("name", ["classification", "ccsa"])
def test_s3s_head_learns_from_class_maps_and_counts_a_step_once(name: str) -> None:
    task = task_of(task={"name": name}, backbone=MAPS, loss=SoftmaxConfig(norm="batch"), outliers=True)
    batch = batch_of([0, 1, 2, 1, -1, -1])
    maps = task.encoder.backbone.forward_map(task.encoder.frontend(batch.waveform / 32768))
    values = torch.einsum("bdmf,cd->bcmf", maps, task.loss.classifier[0].weight[:, :, 0, 0])
    deviation, mean = torch.std_mean(values, (0, 2, 3), correction=0, keepdim=True)
    log_p = F.log_softmax(((values - mean) / (deviation**2 + 1e-5).sqrt()).mean((2, 3)), 1)
    own = -sum(log_p[row, int(batch.class_index[row])] for row in range(4)) / 4
    undecided = -(log_p[4].mean() + log_p[5].mean()) / 2
    found = task(batch)
    assert found.logs["loss_classes"].item() == pytest.approx(own.item(), rel=1e-4)
    assert found.logs["loss_outliers"].item() == pytest.approx(undecided.item(), rel=1e-4)
    assert int(task.loss.classifier[1].num_batches_tracked) == 1
    found.loss.backward()
    assert all(p.grad is not None for p in task.parameters())
    task.eval()
    logits = task.loss.classifier(maps).mean((2, 3))
    torch.testing.assert_close(task.embed(batch_of([0, 1, 2])).logits[:, 0], logits[:3], rtol=1e-4, atol=1e-5)


def test_class_maps_need_a_backbone_that_shows_its_maps() -> None:
    with pytest.raises(pydantic.ValidationError, match=r"loss\.norm is of class maps: it needs a backbone that shows"):
        task_of(backbone=FACE, loss=SoftmaxConfig(norm="batch"))
    with pytest.raises(pydantic.ValidationError, match="hidden and norm are two different heads"):
        SoftmaxConfig(norm="batch", hidden=8)


def test_drawn_windows_alone_are_learnt_from() -> None:
    task, batch = task_of(windows=WINDOWS.model_copy(update={"drawn": 2})), batch_of([0, 1, 2, 1])
    spectrogram = task.encoder.frontend(batch.waveform / 32768)
    places = task.encoder.places(spectrogram, batch)
    losses = []
    for clip, own in enumerate(batch.class_index.tolist()):
        for place in places[clip].tolist():
            begin = place * WINDOWS.hop
            piece = spectrogram[clip : clip + 1, ..., begin : begin + WINDOWS.frames]
            losses.append(-task.loss.classifier(task.encoder.backbone(piece)).log_softmax(1)[0, own].item())
    assert len(losses) == 8
    assert task(batch).loss.item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert task.embed(batch).embedding.shape[1] == 3  # evaluation sees all of them
