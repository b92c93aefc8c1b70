"""From the scores of rows, which may be windows, to those of clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from asd.scorers.base import Scorer
from asd.scorers.embeddings import EmbeddingTable, mean_by


def score_of_clips(
    scorer: Scorer, rows: EmbeddingTable, flipped: Sequence[int] = (), train: EmbeddingTable | None = None
) -> np.ndarray:
    """(n,) float64, of each clip in ascending clip index: the mean over its rows.

    flipped: classes whose scores count the other way round. train: what the scorer was fitted to, where rows may be of
    it: then each is scored as if nothing of its recording had been learnt.
    """
    clips, position = rows.clips()
    found = torch.from_numpy(scorer.score(rows) if train is None else scorer.score_normal(rows, train))
    other_way = torch.isin(rows.class_index, torch.tensor(flipped, dtype=torch.int64))
    return mean_by(torch.where(other_way, -found, found), position, len(clips)).numpy()
