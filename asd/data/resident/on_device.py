"""Batches from samples in the memory of a device. Legend: n clips of a batch, T samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from asd.data.batch import Batch
from asd.data.loader import Request, batch_of
from asd.data.manifest import Manifest
from asd.data.resident.held import Held


class DeviceLoader:
    """A `BatchSource` that gathers each batch on the device when it is asked for: no thread, and no wait."""

    def __init__(self, manifest: Manifest, held: Held) -> None:
        self.manifest = manifest
        self.asked = self.given = 0
        self._held, self._bad = held, dict[int, str]()

    @property
    def bad(self) -> Mapping[int, str]:
        return self._bad

    def stream(self, requests: Iterable[Request]) -> Iterator[Batch]:
        for request in requests:
            self.asked = self.given = self.given + 1
            yield self._batch(request)

    def pop_wait_s(self) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing is under way."""

    def _batch(self, request: Request) -> Batch:
        clips, length, device = request.clips, request.length, self._held.samples.device
        frames, problems = np.minimum(self.manifest.frames[clips] - request.starts, length), self._held.problems
        valid = ~np.isin(clips, list(problems)) if problems else np.ones(len(clips), dtype=bool)
        self._bad |= {clip: problems[clip] for clip in clips[~valid].tolist()}
        first = _to(self._held.first(clips) + request.starts, device)[:, None]
        at = torch.arange(length, device=device)
        if (frames < length).any():
            at = at % _to(frames, device)[:, None]
        heard = self._held.of_channels[: 2 if request.reference else 1]
        return batch_of(self.manifest, request, heard[:, first + at], frames, valid, lambda column: _to(column, device))


def _to(column: np.ndarray, device: torch.device) -> Tensor:
    """On the device, without a wait for what is computed there."""
    tensor = torch.from_numpy(np.ascontiguousarray(column))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
