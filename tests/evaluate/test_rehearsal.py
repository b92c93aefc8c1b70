"""An evaluation is tried with its largest batch before hours of training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asd.data.batch import Batch
from asd.data.loader import Loader
from asd.data.manifest import load_manifest
from asd.data.splits import make_splits
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.evaluate.config import EvaluateConfig
from asd.evaluate.evaluator import Evaluator
from asd.run_folder.paths import RunFolder
from tests.support.launch import ON_CPU, ONE_THREAD
from tests.support.parts import task_of


def test_the_longest_clips_are_tried_and_nothing_is_kept(
    uneven_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (ON_CPU | ONE_THREAD).items():
        monkeypatch.setenv(name, value)
    manifest = load_manifest(uneven_set)
    longest, tried = int(manifest.frames.max()), list[tuple[int, ...]]()
    config = EvaluateConfig(batch_audio_s=3 * longest / manifest.sample_rate)
    task = task_of(num_classes=len(manifest.classes)).eval()
    embed = task.embed

    def watched(batch: Batch) -> object:
        tried.append(tuple(batch.waveform.shape))
        return embed(batch)

    with start_ranks("fp32", 60) as ranks:
        loader = Loader(manifest, ranks.device, threads=1, prefetch=1)
        evaluator = Evaluator(
            config, make_splits(manifest, 0, 0.05), loader, ranks, RunFolder(tmp_path / "run"), seed=0
        )
        monkeypatch.setattr(task, "embed", watched)
        evaluator.rehearse(task)
        assert tried == [(3, longest)]
        monkeypatch.setattr(task, "embed", lambda batch: torch.empty(1 << 50))
        with pytest.raises(UserError, match="a batch of 3 whole clips does not fit the memory of cpu: lower"):
            evaluator.rehearse(task)
        loader.close()
    assert not (tmp_path / "run").exists()
