"""Nothing is learnt: the backbone embeds clips as it is, statistics or a network with the weights of `init_from`."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from asd.data.batch import Batch
from asd.tasks.base import Embedding, Parts, Task, TaskSettings
from asd.tasks.encoder import Encoder, embedding_alone


class UntrainedConfig(TaskSettings, frozen=True):
    """A run is one checkpoint, at step 0, and its evaluation."""

    is_classifier: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    has_clip_loss: ClassVar[bool] = False

    name: Literal["untrained"] = "untrained"


class Untrained(Task):
    """Frontend and backbone. `forward` is never asked for."""

    def __init__(self, config: UntrainedConfig, parts: Parts) -> None:
        super().__init__()
        self.encoder = Encoder(parts)
        self.views = self.encoder.views

    @property
    def core(self) -> nn.Module:
        return self.encoder.backbone

    @torch.no_grad()
    def embed(self, batch: Batch) -> Embedding:
        """The backbone's embeddings of clips of any one length."""
        return embedding_alone(self.encoder, batch)
