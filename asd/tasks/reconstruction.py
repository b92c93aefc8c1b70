"""Reconstruction or prediction of the sound of machines: what has a large error is anomalous (S6).

Legend: B batch, T samples, P parts of a clip (windows, frames or samples), M bins, E summaries of a clip's errors.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from asd.backbones import ReconstructorConfig, build_reconstructor
from asd.data.batch import Batch, to_float
from asd.frontends import WindowsConfig
from asd.losses.reconstruction import sample_cross_entropy, squared_errors, summaries
from asd.tasks.base import Embedding, Parts, StepOutput, Task, TaskSettings


class ReconstructionConfig(TaskSettings, frozen=True):
    """The network that reconstructs or predicts, in place of `backbone` and `loss`."""

    is_classifier: ClassVar[bool] = False
    has_backbone: ClassVar[bool] = False

    name: Literal["reconstruction"] = "reconstruction"
    network: ReconstructorConfig

    def gives(self) -> set[str]:
        return super().gives() | {"errors"} | (set() if self.network.takes_waveform else {"residuals"})

    def fixed_frames(self) -> int | None:
        return self.network.fixed_frames()

    def check(self, windows: WindowsConfig | None, shows_maps: bool) -> None:
        network = self.network
        if network.needs_windows and windows is None:
            frames = self.fixed_frames()
            raise ValueError(f"task.network {network.name} needs windows, such as {{frames: {frames}, hop: 1}}")
        if network.takes_waveform and windows is not None:
            raise ValueError(f"task.network {network.name} takes the waveform itself: leave windows out")


class Reconstruction(Task):
    """One network for all machines of the run; machines are not told apart."""

    def __init__(self, config: ReconstructionConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        self.frontend = parts.frontend
        self.windows = parts.windows
        self.network = build_reconstructor(config.network, parts.channels, parts.frontend.bins)

    @property
    def core(self) -> nn.Module:
        return self.network

    def forward(self, batch: Batch) -> StepOutput:
        """Mean error of the rank's clips; unreadable clips weigh nothing."""
        waveform = to_float(batch.waveform)
        spectrogram = self.frontend(waveform)
        places = None
        if self.windows is not None:
            places = self.windows.places(spectrogram.shape[-1], batch.clip_index, batch.epoch, batch.step)
        errors = self._errors(*self._compared(waveform, spectrogram, places))
        return StepOutput((errors.mean(1) * batch.valid).mean())

    @torch.no_grad()
    def embed(self, batch: Batch) -> Embedding:
        """Errors summed up by clip, and as embedding the clip's mean residual by bin (of samples, the summaries)."""
        waveform = to_float(batch.waveform)
        spectrogram = self.frontend(waveform)
        found, target = self._compared(waveform, spectrogram)
        errors = self._errors(found, target)
        summed_up, residuals = summaries(errors), None
        if not self.config.network.takes_waveform:
            residuals = (target - found).movedim(3, -1).flatten(1, -2)  # (B, R, M), of (B, P, C, M) or (…, M, frames)
        embedding = summed_up if residuals is None else residuals.mean(1)
        return Embedding(
            embedding.unsqueeze(1),
            embedding.new_empty(len(embedding), 1, 0),
            summed_up,
            self.frontend.features(spectrogram),
            errors.mean(1),
            residuals,
        )

    def _compared(self, waveform: Tensor, spectrogram: Tensor, places: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the network makes of clips and what it should: parts (B, P, C, M, …), or what losses of samples take."""
        if self.config.network.takes_waveform:
            return self.network(waveform), self.network.target(waveform)
        given = spectrogram if self.windows is None else self.windows(spectrogram, places).flatten(0, 1)
        found, target = (x.float() for x in (self.network(given), self.network.target(given)))
        if self.windows is None:  # (B, C, M, F): a part is a frame
            return found.movedim(3, 1), target.movedim(3, 1)
        return found.unflatten(0, (len(waveform), -1)), target.unflatten(0, (len(waveform), -1))

    def _errors(self, found: Tensor, target: Tensor) -> Tensor:
        """(B, P), of samples in nats."""
        return (sample_cross_entropy if self.config.network.takes_waveform else squared_errors)(found, target)
