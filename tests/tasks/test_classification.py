"""One training step of the classifier, recomputed by hand; unreadable clips weigh nothing; embeddings stand alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from asd.augment.mixup import MixupConfig, draw_mix
from asd.backbones import MobileFaceNetConfig
from asd.data.batch import Batch
from asd.errors import UserError
from asd.frontends import LogMelConfig
from asd.losses import ArcFaceConfig, SoftmaxConfig
from asd.tasks import System, build_task
from asd.tasks.classification import Classification

CLASSES, ROWS, SAMPLES = 5, 16, 4_000


def build(
    mixup: MixupConfig | None = None, loss=None, norm="group", classes=CLASSES, windows=None, outliers=False
) -> Classification:
    torch.manual_seed(0)
    backbone = MobileFaceNetConfig(bottlenecks=((2, 32, 1, 2),), width=0.25, embedding=16, norm=norm)
    system = System(
        frontend=LogMelConfig(n_mels=32), backbone=backbone, loss=loss or SoftmaxConfig(), mixup=mixup, windows=windows
    )
    task = build_task(system, 7, 16_000, classes, outliers)
    assert isinstance(task, Classification)
    return task


def make_batch(bad: tuple[int, ...] = (), seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    waveform = torch.from_numpy(rng.integers(-9000, 9000, (ROWS, SAMPLES)).astype(np.int16))
    valid = torch.ones(ROWS, dtype=torch.bool)
    valid[list(bad)] = False
    classes = torch.from_numpy(rng.integers(CLASSES, size=ROWS))
    column = torch.arange(ROWS)
    return Batch(
        waveform, torch.full((ROWS,), SAMPLES), column, classes, 0 * column, valid, epoch=3, step=4, first_row=16
    )


def run(task: Classification, batch: Batch) -> tuple[float, list[torch.Tensor]]:
    task.zero_grad()
    loss = task(batch).loss
    loss.backward()
    return loss.item(), [p.grad.clone() for p in task.parameters() if p.grad is not None]


def test_without_mixup_the_loss_is_the_mean_cross_entropy():
    task, batch = build(None), make_batch()
    features = task.encoder.frontend(batch.waveform / 32768)
    logits = task.loss.classifier(task.encoder.backbone(features))
    assert task(batch).loss.item() == pytest.approx(F.cross_entropy(logits, batch.class_index).item(), rel=1e-5)


def test_with_mixup_waveforms_and_classes_are_mixed_alike():
    config = MixupConfig(alpha=0.5)
    task, batch = build(config), make_batch()
    mix = draw_mix(config, 7, 3, 4, 16, ROWS)
    clean = batch.waveform.double() / 32768
    weight = mix.weight[:, None].double()
    mixture = (weight * clean + (1 - weight) * clean[mix.partner]).float()
    log_p = F.log_softmax(task.loss.classifier(task.encoder.backbone(task.encoder.frontend(mixture))), dim=1)
    target = mix.weight[:, None] * F.one_hot(batch.class_index, CLASSES)
    target += (1 - mix.weight[:, None]) * F.one_hot(batch.class_index[mix.partner], CLASSES)
    assert task(batch).loss.item() == pytest.approx(-(target * log_p).sum(1).mean().item(), rel=1e-4)


@pytest.mark.parametrize("mixup", [None, MixupConfig()], ids=["plain", "mixup"])
def test_an_unreadable_clip_weighs_nothing(mixup):
    task, batch = build(mixup), make_batch(bad=(3,))
    silent, shout = batch.waveform.clone(), batch.waveform.clone()
    silent[3], shout[3] = 0, 30_000
    other_class = batch.class_index.clone()
    other_class[3] = (other_class[3] + 1) % CLASSES
    loss, gradients = run(task, replace(batch, waveform=silent))
    again, again_gradients = run(task, replace(batch, waveform=shout, class_index=other_class))
    assert loss == again
    assert all(a.equal(b) for a, b in zip(gradients, again_gradients, strict=True))
    readable, _ = run(task, replace(make_batch(), waveform=silent))
    assert readable != loss  # and it would have weighed something


@pytest.mark.parametrize("mixup", [None, MixupConfig(group_size=4)], ids=["plain", "mixup"])
def test_accumulated_pieces_make_the_same_step(mixup):
    task, batch = build(mixup), make_batch(bad=(2, 9))
    loss, gradients = run(task, batch)
    task.zero_grad()
    pieces = [task(piece).loss / 4 for piece in batch.split(4)]
    sum(pieces).backward()
    assert sum(p.item() for p in pieces) == pytest.approx(loss, rel=1e-5)
    for whole, piece in zip(gradients, [p.grad for p in task.parameters()], strict=True):
        torch.testing.assert_close(piece, whole, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("loss", [SoftmaxConfig(label_smoothing=0.2), ArcFaceConfig(margin=0.5, label_smoothing=0.2)])
def test_embeddings_come_with_logits_features_and_clean_loss(loss):
    task, batch = build(MixupConfig(), loss, norm="batch"), make_batch()
    task(batch)
    task.eval()
    found = task.embed(batch)
    assert found.embedding.shape == (ROWS, 1, 16)
    assert found.logits.shape == (ROWS, 1, CLASSES)
    assert found.errors.shape == (ROWS, 0)
    embedding, logits = found.embedding.squeeze(1), found.logits.squeeze(1)
    assert not found.embedding.requires_grad
    spectrogram = task.encoder.frontend(batch.waveform / 32768)
    torch.testing.assert_close(found.features, spectrogram[:, 0].mean(-1))
    if loss.name == "arcface":
        cosine = F.cosine_similarity(embedding[:, None], task.loss.centres[None], dim=2)
        torch.testing.assert_close(logits, loss.scale * cosine, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.loss, -F.log_softmax(logits, 1)[torch.arange(ROWS), batch.class_index])


def test_an_embedding_does_not_depend_on_batch_mates_or_place():
    task, batch = build(MixupConfig(), norm="batch"), make_batch()
    task(batch)
    task.eval()
    together = task.embed(batch).embedding
    alone = torch.cat([task.embed(batch.rows(row, row + 1)).embedding for row in range(ROWS)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_one_class_is_refused_with_the_reason():
    with pytest.raises(UserError, match="single class, and a classifier learns by telling machines apart"):
        build(None, classes=1)


@pytest.mark.parametrize("loss", [SoftmaxConfig(), ArcFaceConfig(scale=16.0), ArcFaceConfig(sub_centres=2)])
def test_the_logit_scale_turns_logits_into_cosines(loss):
    task = build(None, loss)
    if loss.name == "softmax":
        assert task.logit_scale is None
        return
    out = task.eval().embed(make_batch())
    centres = F.normalize(task.loss.centres).unflatten(0, (CLASSES, -1))
    cosines = torch.einsum("bd,ckd->bck", F.normalize(out.embedding.squeeze(1)), centres).amax(2)
    torch.testing.assert_close(out.logits.squeeze(1) / task.logit_scale, cosines, atol=1e-6, rtol=1e-5)
