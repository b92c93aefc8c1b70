"""Classification of clips and windows."""

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
from asd.tasks.build import build_task
from asd.tasks.classification import Classification
from asd.tasks.system import System
from tests.support.parts import FACE, WINDOWS, batch_of, task_of

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


def test_finer_classes_are_learnt_and_machines_are_scored():
    """Of five classes, parts of three machines: the loss is of the five, the probability of a machine their sum."""
    machine_of = (0, 0, 1, 2, 2)
    batch = replace(
        make_batch(), proxy_index=make_batch().class_index, class_index=torch.zeros(ROWS, dtype=torch.int64)
    )
    system = System(frontend=LogMelConfig(n_mels=32), backbone=FACE, loss=ArcFaceConfig())
    torch.manual_seed(0)
    finer = build_task(system, 7, 16_000, 3, machine_of=machine_of)
    torch.manual_seed(0)
    plain = build_task(system, 7, 16_000, 5)
    assert finer.state_dict().keys() == plain.state_dict().keys()
    machines_as_classes = replace(batch, proxy_index=None, class_index=batch.target)
    assert run(finer, batch)[0] == run(plain, machines_as_classes)[0]
    found, expected = finer.eval().embed(batch), plain.eval().embed(machines_as_classes)
    assert found.logits.shape == (ROWS, 1, 3)
    assert found.loss.equal(expected.loss)
    shares = torch.zeros(ROWS, 3).index_add_(1, torch.tensor(machine_of), expected.logits[:, 0].softmax(1))
    torch.testing.assert_close(found.logits[:, 0].softmax(1), shares, rtol=1e-5, atol=1e-7)
    assert (plain.logit_scale, finer.logit_scale) == (30.0, None)  # no cosines any more


def test_one_machine_may_have_several_classes():
    system = System(frontend=LogMelConfig(n_mels=32), backbone=FACE, loss=SoftmaxConfig())
    task = build_task(system, 7, 16_000, 1, machine_of=(0, 0))
    batch = make_batch()
    assert task.embed(replace(batch, class_index=0 * batch.class_index)).logits.shape == (ROWS, 1, 1)
    with pytest.raises(UserError, match="single class"):
        build_task(system, 7, 16_000, 1, machine_of=(0,))


def test_one_class_is_refused_with_the_reason():
    with pytest.raises(UserError, match="single class, and a classifier needs two or more"):
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


def test_the_loss_of_windows_is_their_mean():
    task, batch = task_of(windows=WINDOWS), batch_of([0, 1, 2, 0], bad=(2,))
    rows = task.encoder(batch.waveform / 32768)
    assert rows.shape[1] == 3
    log_p = F.log_softmax(task.loss.classifier(rows), dim=2)
    by_clip = [-sum(log_p[c, w, batch.class_index[c]] for w in range(3)) / 3 for c in range(4)]
    expected = (by_clip[0] + by_clip[1] + by_clip[3]) / 4
    assert task(batch).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_mixed_windows_have_the_classes_of_both_clips():
    config = MixupConfig(group_size=4)
    task, batch = task_of(windows=WINDOWS, mixup=config), batch_of([0, 1, 2, 2])
    mix = draw_mix(config, 7, 3, 4, 0, 4)
    log_p = F.log_softmax(task.loss.classifier(task.encoder(mix.apply(batch.waveform / 32768))), dim=2).mean(1)
    own, other = (log_p[torch.arange(4), classes] for classes in (batch.class_index, batch.class_index[mix.partner]))
    expected = -(mix.weight * own + (1 - mix.weight) * other).mean()
    assert task(batch).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_windows_come_with_their_own_logits_and_the_clip_with_their_mean_loss():
    task, batch = task_of(windows=WINDOWS).eval(), batch_of([0, 1, 2, 0])
    found = task.embed(batch)
    assert found.embedding.shape == (4, 3, 16)
    assert found.features.shape == (4, 32)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, task.loss.classifier(found.embedding))
        log_p = F.log_softmax(found.logits, 2)
    expected = torch.stack([-log_p[clip, :, batch.class_index[clip]].mean() for clip in range(4)])
    torch.testing.assert_close(found.loss, expected)


def test_partners_of_another_class_are_mixed_in_training():
    config = MixupConfig(group_size=4, uniform=(0.5, 1.0), partner="other_class")
    task, batch = task_of(mixup=config), batch_of([1, 1, 1, 1])
    alone = task_of().loss.classifier(task_of().encoder(batch.waveform / 32768)[:, 0])
    expected = F.cross_entropy(alone, batch.class_index)  # none has a partner: nothing is mixed
    assert task(batch).loss.item() == pytest.approx(expected.item(), rel=1e-5)
