"""Errors and residuals of networks that rebuild or foretell, recomputed by hand; machines are not told apart."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
import torch
import torch.nn.functional as F
from torchaudio.functional import mu_law_encoding

from asd.data.batch import Batch
from asd.frontends import WindowsConfig
from asd.tasks.base import Task
from tests.support.parts import FRONTEND, batch_of, spoilt, step_of, task_of

AUTOENCODER = {"name": "autoencoder", "frames": 5, "hidden": [24, 16], "bottleneck": 4, "norm": "group"}
WAVENET = {"name": "wavenet", "channels": 8, "skip": 8, "dilations": [1, 2], "stacks": 1}  # 4 frames of the past
SAMPLES = {"name": "wavenet_mu_law", "channels": 4, "skip": 4, "dilations": [1, 2, 4], "stacks": 1}  # 8 samples
BY_FIVE = WindowsConfig(frames=5, hop=1)
KINDS = {
    "autoencoder": (AUTOENCODER, BY_FIVE),
    "autoencoder, hop 3": (AUTOENCODER, WindowsConfig(frames=5, hop=3)),
    "wavenet": (WAVENET, None),
    "wavenet on windows": (WAVENET, WindowsConfig(frames=8, hop=8)),
    "samples": (SAMPLES, None),
}


def build(kind: str, **parts: object) -> Task:
    network, windows = KINDS[kind]
    config = {"name": "reconstruction", "network": network}
    return task_of(1, task=config, windows=windows, backbone=None, loss=None, **parts)


def clips(**options: object) -> Batch:
    return batch_of([0, 0, 0, 0], **options)


def test_drawn_windows_alone_are_learnt_from() -> None:
    config = {"name": "reconstruction", "network": AUTOENCODER}
    windows = BY_FIVE.model_copy(update={"drawn": 3})
    task, batch = task_of(1, task=config, windows=windows, backbone=None, loss=None), clips()
    spectrogram = task.frontend(batch.waveform / 32768)
    places = task.windows.places(spectrogram.shape[-1], batch.clip_index, batch.epoch, batch.step)
    assert places.shape == (4, 3)
    errors, _ = by_hand(task, "autoencoder", batch)
    expected = np.mean([[errors[clip][place] for place in places[clip]] for clip in range(4)])
    assert task(batch).loss.item() == pytest.approx(expected, rel=1e-4)
    assert task.embed(batch).errors[:, 0].tolist() == pytest.approx([np.mean(own) for own in errors], rel=1e-4)


def by_hand(task: Task, kind: str, batch: Batch) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of every clip: the error of each part, and the residual vectors (R, M) of its parts' frames."""
    errors, residuals = [], []
    for sound in batch.waveform.float() / 32768:
        spectrogram = task.frontend(sound[None])[0, 0]  # (M, F)
        own, left = [], []
        if kind.startswith("autoencoder"):
            hop = KINDS[kind][1].hop
            for start in range(0, spectrogram.shape[1] - 5 + 1, hop):
                window = spectrogram[:, start : start + 5]
                rebuilt = task.network(window[None, None])[0, 0]
                own.append(((window - rebuilt) ** 2).sum().item() / window.numel())
                left += list((window - rebuilt).T)
        elif kind == "samples":
            classes = mu_law_encoding(sound, 256)
            log_p = F.log_softmax(task.network(sound[None])[0], 0)
            own = [-log_p[classes[8 + t], t].item() for t in range(log_p.shape[1])]
        else:
            frames = spectrogram.shape[1] if kind == "wavenet" else 8
            for start in range(0, spectrogram.shape[1] - frames + 1, frames):
                window = spectrogram[:, start : start + frames]
                foretold = task.network(window[None, None])[0, 0]
                missed = [window[:, 4 + j] - foretold[:, j] for j in range(frames - 4)]
                of_frames = [(frame**2).mean().item() for frame in missed]
                own += of_frames if kind == "wavenet" else [np.mean(of_frames)]
                left += missed
        errors.append(np.array(own))
        residuals.append(torch.stack(left).detach().double().numpy() if left else np.empty((0, 0)))
    return errors, residuals


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_error_of_the_readable_clips(kind: str) -> None:
    task, batch = build(kind), clips(bad=(2,))
    errors, _ = by_hand(task, kind, batch)
    expected = sum(errors[clip].mean() for clip in (0, 1, 3)) / 4
    found = task(batch)
    assert found.loss.item() == pytest.approx(expected, rel=1e-4)
    assert found.loss.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_comes_with_its_errors_summed_up_and_its_residuals(kind: str) -> None:
    task, batch = build(kind).eval(), clips()
    errors, residuals = by_hand(task, kind, batch)
    found = task.embed(batch)
    for clip in range(4):
        summed_up = [errors[clip].mean(), np.median(errors[clip]), errors[clip].std()]
        assert found.errors[clip].tolist() == pytest.approx(summed_up, rel=1e-4)
        assert found.loss[clip].item() == pytest.approx(errors[clip].mean(), rel=1e-4)
        if kind == "samples":
            assert found.residuals is None
            assert found.embedding[clip, 0].tolist() == pytest.approx(summed_up, rel=1e-4)
        else:
            np.testing.assert_allclose(found.residuals[clip].numpy(), residuals[clip], rtol=1e-4, atol=1e-3)
            mean = residuals[clip].mean(0)
            np.testing.assert_allclose(found.embedding[clip, 0].numpy(), mean, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_of_what_is_kept(kind: str) -> None:
    found = build(kind).eval().embed(clips())
    assert found.embedding.shape == (4, 1, 3 if kind == "samples" else FRONTEND.n_mels)
    assert found.logits.shape == (4, 1, 0)
    assert found.errors.shape == (4, 3)
    assert found.features.shape == (4, FRONTEND.n_mels)
    assert found.loss.shape == (4,)
    assert not found.embedding.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_an_unreadable_clip_weighs_nothing(kind: str) -> None:
    task, batch = build(kind), clips(bad=(1,))
    loss, gradients = step_of(task, batch)
    again, again_gradients = step_of(task, spoilt(batch, 1))
    assert loss == again
    assert all(a.equal(b) for a, b in zip(gradients, again_gradients, strict=True))
    assert step_of(task, clips())[0] != loss


@pytest.mark.parametrize("kind", KINDS)
def test_everything_learns_and_the_error_falls(kind: str) -> None:
    task, batch = build(kind), clips()
    optimiser = torch.optim.Adam(task.parameters(), lr=0.01)
    first = task(batch).loss
    first.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())
    for _ in range(15):
        optimiser.zero_grad()
        loss = task(batch).loss
        loss.backward()
        optimiser.step()
    assert task(batch).loss.item() < 0.97 * first.item()


@pytest.mark.parametrize(
    ("network", "windows", "told"),
    [
        (AUTOENCODER, None, r"task\.network autoencoder needs windows, such as \{frames: 5, hop: 1\}"),
        (SAMPLES, BY_FIVE, r"task\.network wavenet_mu_law takes the waveform itself: leave windows out"),
    ],
)
def test_windows_that_do_not_fit_the_network_are_refused(network: object, windows: object, told: str) -> None:
    config = {"name": "reconstruction", "network": network}
    with pytest.raises(pydantic.ValidationError, match=told):
        task_of(1, task=config, windows=windows, backbone=None, loss=None)
