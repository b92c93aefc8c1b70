"""What a network has learnt that a spectrum does not say, by normal clips that it did not learn from.

Legend: N rows.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from asd.scorers.embeddings import EmbeddingTable

MOST = 10_000  # held-out clips that are looked at: each is compared with all clips of all machines
_WHOLE = 1 << 16  # known clips that one is compared with at once; of more, these in turn, which stay in the cache
_PART = 2048
SURE = 1.645  # standard deviations of a normal distribution that 95 % lie above, counted down from the mean


class Learnt(NamedTuple):
    """Of so many held-out clips, those that are taken for their own machine's: by the network's largest logit, and by
    the nearest training clip in time-mean log-mel."""

    clips: int
    network: int
    spectrum: int
    share: float  # of the spectrum's mistakes that the network makes no more, less what chance may have added

    def in_words(self) -> str:
        """Both counts, in the middle of a sentence."""
        return (
            f"of {self.clips} held-out normal clips the network takes {_percent(self.network, self.clips)} "
            f"for their own machine's, the nearest mean spectrum {_percent(self.spectrum, self.clips)}"
        )


def learnt(normal: EmbeddingTable) -> Learnt | None:
    """From normal clips, of which some are held out; None where none is, or the network tells no machines apart.

    The share is a lower bound, one-sided at 95 %: of b clips that only the network gets right and c that only the
    spectrum does (McNemar 1947), b − c less 1.645·√(b + c), of all that the spectrum gets wrong; at least 0. Of more
    than `MOST` held-out clips every second, third, … is looked at.
    """
    none = torch.empty(len(normal), 0)  # of columns that are not looked at: the largest one would be copied
    normal = replace(normal, embedding=none, errors=none, faults=none)
    known, new = (normal.select(normal.held_out == which).per_clip() for which in (0, 1))
    if not len(known) or not len(new) or not new.logits.shape[1]:
        return None
    new = new.select(torch.arange(0, len(new), -(-len(new) // MOST)))
    network = new.logits.argmax(1) == new.class_index
    spectrum = known.class_index[nearest_spectrum(new.features, known.features)] == new.class_index
    gained, lost = int((network & ~spectrum).sum()), int((spectrum & ~network).sum())
    surely = gained - lost - SURE * math.sqrt(gained + lost)
    share = max(0.0, surely) / max(1, int((~spectrum).sum()))
    return Learnt(len(new), int(network.sum()), int(spectrum.sum()), share)


def nearest_spectrum(features: Tensor, known: Tensor) -> Tensor:
    """(N,) int64, the row of the known (n, M) that is nearest to each of (N, M), in dB."""
    nearest = features.new_full((len(features),), torch.inf)
    index = torch.zeros(len(features), dtype=torch.int64)
    size = len(known) if len(known) <= _WHOLE else _PART
    for first in range(0, len(known), size):
        part = known[first : first + size]
        values, places = zip(*(torch.cdist(block, part).min(1) for block in features.split(256)), strict=True)
        nearer = torch.cat(values) < nearest
        nearest = torch.where(nearer, torch.cat(values), nearest)
        index = torch.where(nearer, torch.cat(places) + first, index)
    return index


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"
