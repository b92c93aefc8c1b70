"""The loop that public code of the field trains with: one process that also reads, float32, a wait after each step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asd.config.build import set_up
from asd.data.batch import Batch
from benchmarks.speed.steps import Setting, synchronise


class Recordings(Dataset[Tensor]):
    """Files, each decoded when it is asked for: (T,) int16, repeated to fill T."""

    def __init__(self, files: Sequence[Path], samples: int) -> None:
        self.files, self.samples = files, samples

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        found = torch.from_numpy(soundfile.read(self.files[index], dtype="int16")[0])
        return found.repeat(-(-self.samples // len(found)))[: self.samples]


def plain_clips_per_s(setting: Setting, shards: Path, device: torch.device, steps: int) -> float:
    """Training of a setting's network on the recordings that were packed beside shards, from the second step on."""
    setup = set_up(setting.with_(words=(*setting.words, "model.channels_last=false")).load(shards))
    own, batch = setup.task.to(device).train(), setting.batch
    samples = round(setup.config.data.crop_s * setup.data.manifest.sample_rate)
    files = sorted((shards.parent / "factory").glob("*/train/*.wav"))
    optimizer = torch.optim.Adam([weight for weight in own.parameters() if weight.requires_grad])
    loader = DataLoader(Recordings(files, samples), batch, shuffle=True, drop_last=True)
    taken, begin = -1, 0.0
    while taken < steps:
        for waveform in loader:
            optimizer.zero_grad()
            loss = own(_batch(waveform.to(device))).loss
            loss.backward()
            optimizer.step()
            loss.item()
            taken += 1
            if taken == 0:
                synchronise(device)
                begin = time.perf_counter()
            if taken == steps:
                break
    return batch * steps / (time.perf_counter() - begin)


def _batch(waveform: Tensor) -> Batch:
    """Clips of two classes in turn, so that any two can be mixed."""
    clips = torch.arange(len(waveform), device=waveform.device)
    return Batch(
        waveform=waveform,
        frames=torch.full_like(clips, waveform.shape[1]),
        clip_index=clips,
        class_index=clips % 2,
        domain=torch.zeros_like(clips),
        valid=torch.ones_like(clips, dtype=torch.bool),
        epoch=0,
        step=0,
        first_row=0,
    )
