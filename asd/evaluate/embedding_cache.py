"""Embeddings that are kept: what is not trained embeds a clip in the same way each time, so one pass is enough.

A file for each network on each set, `<folder>/<key>.safetensors`; see `EmbeddingCache.key`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from asd.data.manifest import Manifest
from asd.evaluate.embed import EmbeddingPass
from asd.files.atomic import whole
from asd.scorers import EmbeddingTable

PART = "clips"  # begins the names of an EmbeddingTable's tensors
log = logging.getLogger(__name__)


class EmbeddingCache:
    """Used by rank 0 alone."""

    def __init__(self, folder: Path, described: Mapping[str, Any]) -> None:
        """described: all settings that change what is embedded, the sha256 of a file of weights among them."""
        self.folder, self.described = folder, described

    def key(self, task: nn.Module, manifest: Manifest) -> str:
        """Of the settings, the tensors that the network has itself, and the clips and classes of the set."""
        found = hashlib.sha256(json.dumps(self.described, sort_keys=True).encode())
        found.update(f"{manifest.fingerprint} {[str(own) for own in manifest.classes]}".encode())
        for name, tensor in sorted(task.state_dict().items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return found.hexdigest()[:32]

    def read(self, key: str, clips: np.ndarray) -> EmbeddingPass | None:
        """What an earlier pass found, of these clips; None where none is kept that saw all of them."""
        path = self._path(key)
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
                views = json.loads(file.metadata()["views"])
            kept = EmbeddingTable.from_tensors(tensors, PART, {name: tuple(view) for name, view in views.items()})
            if not np.isin(clips, tensors["asked"].numpy()).all():
                return None
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            log.warning(f"{path} cannot be read ({error}): the clips are embedded again")
            return None
        rows = torch.isin(kept.clip_index, torch.from_numpy(clips.astype(np.int64)))
        table = kept.select(rows)
        log.info(f"embeddings of {len(clips)} clips from {path}")
        return EmbeddingPass(table, tensors["loss"][rows], len(clips) - len(table.clip_index.unique()))

    def write(self, key: str, clips: np.ndarray, found: EmbeddingPass) -> None:
        """Keep a pass over these clips; where there is no room for it, say so and go on."""
        tensors = found.clips.to_tensors(PART) | {
            "asked": torch.from_numpy(clips.astype(np.int64)),
            "loss": found.loss.contiguous(),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(self._path(key)) as file:
                file.write(save(tensors, {"views": json.dumps(dict(found.clips.views))}))
        except OSError as error:
            with suppress(OSError):
                self._path(key).unlink(missing_ok=True)
            log.warning(f"embeddings are not kept in {self.folder}: {error}")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"
