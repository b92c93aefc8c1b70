"""The shards are ordinary webdataset shards: the plain library reads them, and trains from them."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import webdataset

from asd.augment.mixup import MixupConfig
from asd.backbones import MobileFaceNetConfig
from asd.data.batch import Batch
from asd.data.manifest import Manifest
from asd.data.reader import Reader
from asd.frontends import LogMelConfig
from asd.losses import ArcFaceConfig
from asd.tasks.build import build_task
from asd.tasks.system import System

# webdataset leaves it to the garbage collector to close its tars
pytestmark = pytest.mark.filterwarnings(r"ignore:unclosed file.*\.tar:ResourceWarning")


def tars(root: Path, pattern: str = "*.tar") -> list[str]:
    return [str(path) for path in sorted(root.glob(pattern))]


@pytest.mark.parametrize("name", ["small_manifest", "flac_manifest"])
def test_webdataset_finds_the_clips_of_the_manifest(name, request):
    manifest = request.getfixturevalue(name)
    samples = list(webdataset.WebDataset(tars(manifest.root), shardshuffle=False))
    clips = np.argsort([sample["__key__"] for sample in samples])
    keys = manifest.strings("key")
    assert [samples[i]["__key__"] for i in clips] == sorted(keys)

    reader = Reader(manifest)
    rows = np.empty((len(keys), 16_000), dtype=np.int16)
    _, valid = reader.read(np.arange(len(keys)), np.zeros(len(keys), dtype=np.int64), rows)
    reader.close()
    assert valid.all()
    ours = dict(zip(keys, zip(rows, manifest.table.to_pylist(), strict=True), strict=True))
    for sample in samples:
        row, clip = ours[sample["__key__"]]
        extension = "flac" if manifest.is_flac[0] else "wav"
        np.testing.assert_array_equal(soundfile.read(io.BytesIO(sample[extension]), dtype="int16")[0], row)
        told = json.loads(sample["json"])
        for field in ("machine_type", "machine_id", "split", "label", "file_name"):
            assert told[field] == clip[field]


def webdataset_batches(manifest: Manifest, size: int) -> Iterator[Batch]:
    """One epoch of training clips from the plain webdataset pipeline, drop-last."""
    classes = {(c.machine_type, c.machine_id): index for index, c in enumerate(manifest.classes)}

    def decode(sample: dict[str, bytes]) -> tuple[np.ndarray, int]:
        told = json.loads(sample["json"])
        assert told["split"] == "train"
        samples, rate = soundfile.read(io.BytesIO(sample["wav"]), dtype="int16")
        assert rate == manifest.sample_rate
        return samples, classes[told["machine_type"], told["machine_id"]]

    pipeline = (
        webdataset.WebDataset(tars(manifest.root, "train-*.tar"), shardshuffle=10, seed=0)
        .shuffle(200, rng=random.Random(0))
        .map(decode)
        .batched(size, partial=False)
    )
    for step, (waveforms, labels) in enumerate(pipeline):
        waveform, label = torch.from_numpy(np.stack(waveforms)), torch.as_tensor(labels)
        zeros, frames = torch.zeros(size, dtype=torch.int64), torch.full((size,), waveform.shape[1])
        yield Batch(waveform, frames, zeros, label, zeros, torch.ones(size, dtype=torch.bool), 0, step, 0)


def test_an_epoch_trains_from_the_plain_webdataset_pipeline(small_manifest):
    torch.manual_seed(0)
    backbone = MobileFaceNetConfig(bottlenecks=((2, 16, 1, 2),), width=0.25, embedding=16)
    system = System(frontend=LogMelConfig(n_mels=32), backbone=backbone, loss=ArcFaceConfig(), mixup=MixupConfig())
    task = build_task(system, 0, small_manifest.sample_rate, 4)
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    losses = []
    for _ in range(4):
        steps = 0
        for batch in webdataset_batches(small_manifest, 16):
            loss = task(batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            steps += 1
        assert steps == 6
    assert np.isfinite(losses).all()
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])
