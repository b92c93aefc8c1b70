"""Rebuilding the sound of machines, or foretelling it: what cannot be rebuilt is anomalous (S6).

Legend: B batch, T samples, P parts of a clip (windows, frames or samples), M bins, E summaries of a clip's errors.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from asd.backbones import ReconstructorConfig
from asd.data.batch import Batch, to_float
from asd.frontends import Windows
from asd.losses.reconstruction import sample_cross_entropy, squared_errors, summaries
from asd.tasks.base import Task
from asd.tasks.encoder import plain_mean
from asd.tasks.step import Embedding, StepOutput


class ReconstructionConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """The network that rebuilds, in place of `backbone` and `loss`."""

    needs_whole_batch: ClassVar[bool] = False

    name: Literal["reconstruction"] = "reconstruction"
    network: ReconstructorConfig


class Reconstruction(Task):
    """One network for all machines of the run; machines are not told apart."""

    def __init__(self, frontend: nn.Module, windows: Windows | None, network: nn.Module) -> None:
        super().__init__()
        self.frontend = frontend
        self.windows = windows
        self.network = network

    def forward(self, batch: Batch) -> StepOutput:
        """Mean error of the rank's clips; unreadable clips weigh nothing."""
        waveform = to_float(batch.waveform)
        spectrogram = self.frontend(waveform)
        places = None
        if self.windows is not None:
            places = self.windows.places(spectrogram.shape[-1], batch.clip_index, batch.epoch, batch.step)
        errors, _ = self._errors(waveform, spectrogram, places)
        return StepOutput((errors.mean(1) * batch.valid).mean())

    @torch.no_grad()
    def embed(self, batch: Batch) -> Embedding:
        """Errors summed up by clip, and as embedding the clip's mean residual by bin (of samples, the summaries)."""
        waveform = to_float(batch.waveform)
        spectrogram = self.frontend(waveform)
        errors, residuals = self._errors(waveform, spectrogram)
        summed_up = summaries(errors)
        embedding = summed_up if residuals is None else residuals.mean(1)
        return Embedding(
            embedding.unsqueeze(1),
            embedding.new_empty(len(embedding), 1, 0),
            summed_up,
            plain_mean(self.frontend, spectrogram),
            errors.mean(1),
            residuals,
        )

    def _errors(
        self, waveform: Tensor, spectrogram: Tensor, places: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Errors (B, P) of the parts of clips, and residuals (B, R, M) of their frames; of samples errors in nats."""
        if self.takes_waveform:
            errors = sample_cross_entropy(self.network(waveform), self.network.target(waveform))  # type: ignore[operator]
            return errors, None
        given = spectrogram if self.windows is None else self.windows(spectrogram, places).flatten(0, 1)
        found, target = (x.float() for x in (self.network(given), self.network.target(given)))  # type: ignore[operator]
        if self.windows is None:  # (B, C, M, F): a part is a frame
            found, target = (x.movedim(3, 1) for x in (found, target))
        else:
            found, target = (x.unflatten(0, (len(waveform), -1)) for x in (found, target))
        residuals = (target - found).movedim(3, -1).flatten(1, -2)  # of (B, P, C, M) or (B, P, C, M, frames)
        return squared_errors(found, target), residuals

    @property
    def takes_waveform(self) -> bool:
        """Whether the network foretells samples, not frames."""
        return bool(getattr(self.network, "takes_waveform", False))
