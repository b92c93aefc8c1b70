"""One pass over clips: a row a window or a clip, the same on one rank and on two."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asd.data.batch import to_float
from asd.data.loader import Loader
from asd.data.manifest import Manifest, load_manifest
from asd.distributed import ranks as ranks_module
from asd.distributed.ranks import Ranks
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.evaluate.embed import EmbeddingPass, embed_clips
from asd.frontends import WindowsConfig
from asd.scorers import EmbeddingTable
from asd.scorers.folds import FOLDS
from asd.tasks.base import Task
from tests.support.launch import ON_CPU, ONE_THREAD, _rank_variables, _server, free_port
from tests.support.parts import task_of
from tests.support.patience import PATIENCE_S
from tests.support.tars import sounds_of

WINDOWS = WindowsConfig(frames=8, hop=6)
AUTOENCODER = {"name": "autoencoder", "frames": 5, "hidden": [8], "bottleneck": 4, "norm": "group"}
KINDS: dict[str, dict[str, Any]] = {
    "clips": {},
    "windows": {"windows": WINDOWS},
    "long windows": {"windows": WindowsConfig(frames=40, hop=8)},
    "vicreg": {"windows": WINDOWS, "task": {"name": "vicreg", "expander": {"widths": [8]}}, "loss": None},
    "reconstruction": {
        "windows": WindowsConfig(frames=5, hop=2),
        "task": {"name": "reconstruction", "network": AUTOENCODER},
        "backbone": None,
        "loss": None,
    },
}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (ON_CPU | ONE_THREAD).items():
        monkeypatch.setenv(name, value)


def embed(
    root: Path, kind: str, clips: np.ndarray, fit: np.ndarray | None = None, **options: Any
) -> EmbeddingPass | None:
    """The pass on the one rank that is here."""
    with start_ranks("fp32", 60) as here:
        return embed_on(here, root, kind, clips, fit, **options)


def embed_on(
    ranks: Ranks, root: Path, kind: str, clips: np.ndarray, fit: np.ndarray | None = None, **options: Any
) -> EmbeddingPass | None:
    manifest = load_manifest(root)
    loader = Loader(manifest, ranks.device, threads=1, prefetch=2)
    task = task_of(num_classes=len(manifest.classes), **KINDS[kind])
    try:
        return embed_clips(task, loader, ranks, clips, 40_000, fit_clips=fit, **options)
    finally:
        loader.close()


@pytest.fixture(scope="module")
def sounds(uneven_set: Path) -> dict[str, np.ndarray]:
    return sounds_of(uneven_set)


def alone(task: Task, manifest: Manifest, sounds: dict[str, np.ndarray], clip: int) -> torch.Tensor:
    """Embeddings (P, D) of one clip by itself."""
    waveform = torch.from_numpy(sounds[manifest.strings("key", np.array([clip]))[0]].astype(np.int16))[None]
    with torch.no_grad():
        return task.encoder(to_float(waveform))[0]


@pytest.fixture
def task() -> Task:
    return task_of(num_classes=4, windows=WINDOWS).eval()


def test_every_window_of_clips_of_any_length_is_a_row(uneven_manifest, sounds, task) -> None:
    clips = uneven_manifest.select("test")
    found = embed(uneven_manifest.root, "windows", clips)
    counts = [(1 + uneven_manifest.frames[c] // 256 - 8) // 6 + 1 for c in clips]
    assert len(set(counts)) > 2
    assert found.unreadable == 0
    assert found.clips.clip_index.tolist() == np.repeat(clips, counts).tolist()
    expected = torch.cat([alone(task, uneven_manifest, sounds, clip) for clip in clips])
    torch.testing.assert_close(found.clips.embedding, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.clips.logits, task.loss.classifier(expected).detach(), rtol=1e-4, atol=1e-5)
    assert found.clips.class_index.tolist() == np.repeat(uneven_manifest.class_index[clips], counts).tolist()
    for clip in clips:  # what is the clip's is the same in all of its rows
        own = found.clips.clip_index == int(clip)
        assert len(found.clips.features[own].unique(dim=0)) == len(found.loss[own].unique()) == 1


def test_embeddings_may_be_averaged_already(uneven_manifest, sounds, task) -> None:
    clips = uneven_manifest.select("test")[::-1].copy()
    found = embed(uneven_manifest.root, "windows", clips, average="embeddings")
    assert found.clips.clip_index.tolist() == sorted(clips)
    expected = torch.stack([alone(task, uneven_manifest, sounds, clip).mean(0) for clip in sorted(clips)])
    torch.testing.assert_close(found.clips.embedding, expected, rtol=1e-4, atol=1e-5)
    by_window = embed(uneven_manifest.root, "windows", clips).clips.per_clip()
    torch.testing.assert_close(found.clips.embedding, by_window.embedding, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.clips.logits, by_window.logits, rtol=1e-4, atol=1e-5)
    assert by_window.clip_index.equal(found.clips.clip_index)
    assert by_window.class_index.equal(found.clips.class_index)


def test_the_loss_of_a_subset_is_one_number_a_clip(uneven_manifest, sounds, task) -> None:
    clips = uneven_manifest.select("test")
    wanted = clips[::3]
    rows, loss = embed(uneven_manifest.root, "windows", clips).of(wanted)
    assert rows.clip_index.unique().tolist() == sorted(wanted)
    expected = []
    for clip in sorted(wanted):
        log_p = task.loss.classifier(alone(task, uneven_manifest, sounds, clip)).log_softmax(1)
        expected.append(-log_p[:, uneven_manifest.class_index[clip]].mean().item())
    assert loss.tolist() == pytest.approx(expected, rel=1e-4)


def test_the_first_samples_alone_may_be_embedded(uneven_manifest, sounds) -> None:
    clips = uneven_manifest.select("test")
    found = embed(uneven_manifest.root, "windows", clips, first_samples=6_000)
    counts = np.unique(found.clips.clip_index.numpy(), return_counts=True)[1]
    assert counts.tolist() == [(1 + 6_000 // 256 - 8) // 6 + 1] * len(clips)


def test_an_unreadable_clip_is_left_out_and_counted(flac_set, tmp_path) -> None:
    manifest, lost = damaged(flac_set, tmp_path)
    clips = np.arange(lost + 3)
    found = embed(manifest.root, "windows", clips)
    assert found.unreadable == 1
    assert found.clips.clip_index.unique().tolist() == [c for c in clips if c != lost]


def damaged(flac_set: Path, folder: Path) -> tuple[Manifest, int]:
    """A copy of the set with a clip whose first bytes are lost, and that clip."""
    root = Path(shutil.copytree(flac_set, folder / "set"))
    manifest = load_manifest(root)
    lost = int(np.flatnonzero(manifest.column("shard") == 0)[-1])
    with (root / manifest.file.shards[0].file).open("r+b") as tar:
        tar.seek(int(manifest.column("offset")[lost]))
        tar.write(b"\0" * 44)
    return manifest, lost


def test_moments_of_residuals_are_kept_apart_by_recordings(uneven_manifest) -> None:
    """Without a fold they are those of a pass without its recordings."""
    clips = uneven_manifest.select("train")[:24]
    found = embed(uneven_manifest.root, "reconstruction", clips, fit=clips).clips.residuals
    assert found is not None
    assert found.recording.tolist() == sorted(clips.tolist())  # each is a recording of its own
    own = clips[uneven_manifest.class_index[clips] == uneven_manifest.class_index[clips[0]]]
    folds = found.fold_of(torch.from_numpy(own))
    assert np.ptp(np.bincount(folds, minlength=FOLDS)) <= 1
    assert found.fold_of(torch.tensor([10**6])).tolist() == [-1]
    others = embed(uneven_manifest.root, "reconstruction", clips, fit=own[folds != 1]).clips.residuals
    index = int(uneven_manifest.class_index[own[0]])
    np.testing.assert_allclose(found.covariance(index, 0, without=1), others.covariance(index, 0), rtol=1e-6)
    assert not np.allclose(found.covariance(index, 0), others.covariance(index, 0), rtol=1e-3)


def test_moments_of_residuals_are_those_of_the_clips_that_fit(uneven_manifest, sounds) -> None:
    clips = np.concatenate([uneven_manifest.select("train")[:12], uneven_manifest.select("test")])
    found = embed(uneven_manifest.root, "reconstruction", clips, fit=clips[:12]).clips
    task = task_of(num_classes=4, **KINDS["reconstruction"])
    vectors: dict[int, list[np.ndarray]] = {}
    for clip in clips[:12]:
        sound = sounds[uneven_manifest.strings("key", np.array([clip]))[0]].astype(np.float32) / 32768
        with torch.no_grad():
            spectrogram = task.frontend(torch.from_numpy(sound)[None])[0, 0]
            for start in range(0, spectrogram.shape[1] - 4, 2):
                window = spectrogram[:, start : start + 5]
                left = window - task.network(window[None, None])[0, 0]
                vectors.setdefault(int(uneven_manifest.class_index[clip]), []).extend(left.T.double().numpy())
    assert found.residuals is not None
    assert len(vectors) > 1
    for index, own in vectors.items():
        count, total = (x.unflatten(0, (FOLDS, -1)).sum(0) for x in (found.residuals.count, found.residuals.total))
        assert count[3 * index].item() == len(own)  # of the first domain, which is none
        np.testing.assert_allclose(total[3 * index].numpy(), np.sum(own, 0), rtol=1e-3, atol=1e-2)
        expected = np.cov(np.array(own), rowvar=False)
        covariance = found.residuals.covariance(index, 0)
        np.testing.assert_allclose(covariance.numpy(), expected, rtol=1e-3, atol=1e-2)


# Two ranks


def _be_rank(variables: dict[str, str], jobs: list[tuple[Any, ...]], target: str) -> None:
    os.environ.update(variables)
    ranks_module.PIECE_BYTES = 200  # so that columns are sent in pieces
    Ranks.gather_objects = of_few_words(Ranks.gather_objects)  # type: ignore[method-assign]
    with start_ranks("fp32", 60) as both:  # once: a second group would meet the first one's store at the same port
        found = [_embed_or_say_why(both, *words, **options) for *words, options in jobs]
    if variables["RANK"] == "0":
        torch.save([e if isinstance(e, str) else dict(e.__dict__) for e in found], target)
    else:
        assert [e for e in found if e is not None] == [e for e in found if isinstance(e, str)]
        Path(f"{target}.other").write_text("\n".join(e for e in found if e is not None))


def of_few_words(gather: Callable[[Ranks, Any], list[Any]]) -> Callable[[Ranks, Any], list[Any]]:
    """The same, that refuses embeddings and sums of residuals: pickled they are in memory several times."""

    def checked(self: Ranks, value: Any) -> list[Any]:
        assert len(pickle.dumps(value)) < 2000, value
        return gather(self, value)

    return checked


def _embed_or_say_why(*words: Any, **options: Any) -> EmbeddingPass | str | None:
    try:
        return embed_on(*words, **options)
    except UserError as error:
        return str(error)


def on_two_ranks(jobs: list[tuple[Any, ...]], target: Path) -> list[Any]:
    port = free_port()
    ranks = []
    for rank in range(2):
        variables = ON_CPU | ONE_THREAD | _rank_variables(rank, 2, port)
        ranks.append(_server.Process(target=_be_rank, args=(variables, jobs, str(target))))
        ranks[-1].start()
    for process in ranks:
        process.join(PATIENCE_S)
        process.kill()
    assert [process.exitcode for process in ranks] == [0, 0]
    return torch.load(target, weights_only=False)


def same(first: EmbeddingTable, second: EmbeddingTable) -> None:
    for name in ("clip_index", "class_index", "domain", "embedding", "logits", "errors", "features"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=1e-5, atol=1e-6)
    assert (first.residuals is None) == (second.residuals is None)
    if first.residuals is not None:
        for name in ("count", "total", "square", "recording", "fold"):
            torch.testing.assert_close(getattr(first.residuals, name), getattr(second.residuals, name))


def test_two_ranks_gather_what_one_has(uneven_set: Path, flac_set: Path, tmp_path: Path) -> None:
    """Also with one clip for both of them, and where one cannot read what it was given."""
    broken, lost = damaged(flac_set, tmp_path)
    clips = np.arange(60)
    jobs: list[tuple[Any, ...]] = [
        (uneven_set, "clips", clips, None, {}),
        (uneven_set, "windows", clips[::2], None, {}),
        (uneven_set, "windows", clips[::-3].copy(), None, {"average": "embeddings"}),
        (uneven_set, "vicreg", clips[:20], None, {"first_samples": 7_000}),
        (uneven_set, "reconstruction", clips, clips[:25], {}),
        (uneven_set, "windows", clips[5:6], None, {}),
        (broken.root, "windows", np.array([lost, 0]), None, {}),
        (uneven_set, "reconstruction", clips[5:6], clips[5:6], {}),
    ]
    for job, pair in zip(jobs, on_two_ranks(jobs, tmp_path / "found.pt"), strict=True):
        *words, options = job
        single = embed(*words, **options)
        same(pair["clips"], single.clips)
        torch.testing.assert_close(pair["loss"], single.loss, equal_nan=True)
        assert pair["unreadable"] == single.unreadable == int(words[0] == broken.root)


def test_a_clip_too_short_for_a_window_is_told_by_all_ranks(uneven_set: Path, tmp_path: Path) -> None:
    """Also by the one that has none."""
    order = np.argsort(load_manifest(uneven_set).frames)
    jobs = [(uneven_set, "long windows", order[[0, -1]], None, {})]
    (told,) = on_two_ranks(jobs, tmp_path / "found.pt")
    assert told.startswith("a clip gives 32 frames and a window has 40: use clips and crops of at least 0.624 s")
    assert (tmp_path / "found.pt.other").read_text() == told
