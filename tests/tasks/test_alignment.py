"""Contrastive semantic alignment, recomputed pair by pair from its definition in numpy."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
import torch
import torch.nn.functional as F

from asd.data.batch import Batch
from asd.tasks.base import Task
from tests.support.parts import FACE, MAPS, SOURCE, TARGET, WINDOWS, batch_of, spoilt, step_of, task_of

CLASSES = [0, 0, 1, 2, 2, 1, 0, 2, -1, -1]  # two outliers at the end, one of them of the target domain
DOMAINS = [SOURCE] * 5 + [TARGET] * 3 + [SOURCE, TARGET]


def build(compare: str = "pooled", da_lambda: float = 0.4, margin: float = 0.5, **parts: object) -> Task:
    config = {"name": "ccsa", "compare": compare, "da_lambda": da_lambda, "margin": margin, "outlier_weight": 0.3}
    return task_of(task=config, **{"backbone": MAPS, "outliers": True, **parts})


def clips(**options: object) -> Batch:
    return batch_of(CLASSES, DOMAINS, **options)


def by_hand(compared: np.ndarray, batch: Batch, margin: float) -> tuple[float, float]:
    """(semantic, contrastive) over all pairs of a source and a target clip that have a class and could be read."""
    semantic, contrastive = [], []
    for i, j in np.ndindex(len(compared), len(compared)):
        if not (batch.valid[i] and batch.valid[j] and batch.class_index[i] >= 0 and batch.class_index[j] >= 0):
            continue
        if batch.domain[i] != SOURCE or batch.domain[j] != TARGET:
            continue
        squared = np.mean((compared[i] - compared[j]) ** 2)
        if batch.class_index[i] == batch.class_index[j]:
            semantic.append(squared)
        else:
            contrastive.append(max(0.0, margin - np.sqrt(squared)) ** 2)
    pairs = len(semantic) + len(contrastive)  # as published, both sums are divided by the number of all pairs
    return float(np.sum(semantic) / pairs), float(np.sum(contrastive) / pairs)


@pytest.mark.parametrize("compare", ["pooled", "maps"])
@pytest.mark.parametrize("bad", [(), (1, 6)], ids=["all readable", "two unreadable"])
def test_the_loss_is_that_of_the_definition(compare: str, bad: tuple[int, ...]) -> None:
    batch = clips(bad=bad)
    maps = build(compare).encoder.backbone.forward_map(build(compare).encoder.frontend(batch.waveform / 32768))
    compared = (maps if compare == "maps" else maps.mean((2, 3))).detach().double().numpy()
    assert compared.ndim == (4 if compare == "maps" else 2)
    margin = float(np.sqrt(np.mean((compared[0] - compared[5]) ** 2)))  # some distances are above, some below it
    semantic, contrastive = by_hand(compared, batch, margin)
    assert min(semantic, contrastive) > 0
    task = build(compare, margin=margin)
    log_p = F.log_softmax(task.loss.classifier(maps.mean((2, 3))), 1)
    valid = batch.valid.tolist()
    own = -sum(log_p[i, CLASSES[i]] for i in range(8) if valid[i]) / 8
    undecided = -sum(log_p[i].mean() for i in (8, 9)) / 2
    classification = (own + 0.3 * undecided).item()
    found = task(batch)
    assert found.logs["loss_semantic"].item() == pytest.approx(semantic, rel=1e-4)
    assert found.logs["loss_contrastive"].item() == pytest.approx(contrastive, rel=1e-4)
    expected = 0.4 * classification + 0.6 * (semantic + contrastive) / 2
    assert found.loss.item() == pytest.approx(expected, rel=1e-4)
    assert found.logs["loss_classes"].item() == pytest.approx(own.item(), rel=1e-4)


@pytest.mark.parametrize("compare", ["pooled", "maps"])
def test_at_one_it_is_plain_classification(compare: str) -> None:
    plain = task_of(task={"name": "classification", "outlier_weight": 0.3}, backbone=MAPS, outliers=True)
    loss, gradients = step_of(build(compare, da_lambda=1.0), clips())
    expected, expected_gradients = step_of(plain, clips())
    assert loss == pytest.approx(expected, rel=1e-5)
    for own, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-6)


def test_at_nought_it_is_alignment_alone_and_pulls_one_class_together() -> None:
    task = build(da_lambda=0.0, margin=1e-6)
    optimiser = torch.optim.SGD(task.encoder.parameters(), lr=0.05)
    before = task(clips()).logs["loss_semantic"].item()
    for _ in range(5):
        optimiser.zero_grad()
        found = task(clips())
        assert found.loss.item() == pytest.approx(found.logs["loss_semantic"].item() / 2, rel=1e-3)
        found.loss.backward()
        optimiser.step()
    assert task(clips()).logs["loss_semantic"].item() < 0.9 * before


def test_windows_are_averaged_before_they_are_compared() -> None:
    task = build(windows=WINDOWS, margin=2.0)
    embedding = task.encoder(clips().waveform / 32768)
    assert embedding.shape[1] == 3
    semantic, contrastive = by_hand(embedding.mean(1).detach().double().numpy(), clips(), 2.0)
    found = task(clips()).logs
    assert found["loss_semantic"].item() == pytest.approx(semantic, rel=1e-4)
    assert found["loss_contrastive"].item() == pytest.approx(contrastive, rel=1e-4)


@pytest.mark.parametrize("row", [0, 5, 8], ids=["source", "target", "outlier"])
def test_an_unreadable_clip_weighs_nothing(row: int) -> None:
    loss, gradients = step_of(build(), clips(bad=(row,)))
    again, again_gradients = step_of(build(), spoilt(clips(bad=(row,)), row))
    assert loss == pytest.approx(again, rel=1e-6)
    for own, other in zip(gradients, again_gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-7)
    assert step_of(build(), clips())[0] != pytest.approx(loss, rel=1e-4)


def test_a_batch_without_pairs_is_classified_alone() -> None:
    batch = batch_of(CLASSES, [SOURCE] * len(CLASSES))
    found = build()(batch)
    assert found.logs["loss_semantic"].item() == found.logs["loss_contrastive"].item() == 0
    logs = found.logs
    expected = 0.4 * (logs["loss_classes"] + 0.3 * logs["loss_outliers"])
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_equal_embeddings_have_a_finite_gradient() -> None:
    batch = batch_of([0, 1, 0, 1], [SOURCE, SOURCE, TARGET, TARGET])
    batch.waveform[:] = batch.waveform[0].clone()
    loss, gradients = step_of(build(da_lambda=0.0, outliers=False), batch)
    assert loss == pytest.approx(0.5 * 0.5**2 / 2, rel=1e-3)  # of four pairs two should be apart and lie on one point
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_it_is_embedded_like_a_classifier() -> None:
    found = build("maps").eval().embed(batch_of([0, 1, 2]))
    assert found.embedding.shape == (3, 1, 32)
    assert found.logits.shape == (3, 1, 3)


def test_maps_need_a_backbone_that_shows_them_and_whole_clips() -> None:
    with pytest.raises(pydantic.ValidationError, match=r"task\.compare=maps needs a backbone that shows its maps"):
        build("maps", backbone=FACE)
    with pytest.raises(pydantic.ValidationError, match=r"task\.compare=maps compares whole clips"):
        build("maps", windows=WINDOWS)
