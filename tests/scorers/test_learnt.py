"""What held-out normal clips say of a network, counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from asd.scorers import EmbeddingTable
from asd.scorers.learnt import Learnt, learnt
from tests.support.embedded import embedded_of

KNOWN = 4  # clips of each of two classes that the network learnt from, at 0 and at 10 dB


def clips(both: int = 0, network: int = 0, spectrum: int = 0, neither: int = 0) -> EmbeddingTable:
    """Known clips, and as many held-out ones of class 0 as are said to be taken for class 0 by both, by the network
    alone, by the nearest spectrum alone, and by neither."""
    kinds = [(True, True)] * both + [(True, False)] * network + [(False, True)] * spectrum + [(False, False)] * neither
    own = torch.tensor([0] * KNOWN + [1] * KNOWN + [0] * len(kinds))
    logit_of_0 = torch.tensor([0.0] * 2 * KNOWN + [1.0 if right else -1.0 for right, _ in kinds])
    level = torch.tensor([0.0] * KNOWN + [10.0] * KNOWN + [4.0 if right else 6.0 for _, right in kinds])
    logits = torch.stack([logit_of_0, torch.zeros(len(own))], 1)
    held_out = torch.tensor([0] * 2 * KNOWN + [1] * len(kinds))
    rows = embedded_of(torch.zeros(len(own), 1), own, logits=logits, features=level[:, None].repeat(1, 3))
    return replace(rows, held_out=held_out)


def test_a_share_is_what_the_network_surely_gets_right_beyond_the_spectrum() -> None:
    found = learnt(clips(both=20, network=14, spectrum=2, neither=4))
    assert found is not None
    assert found[:3] == (40, 34, 22)
    assert found.share == pytest.approx((14 - 2 - 1.645 * math.sqrt(16)) / 18)
    assert found.in_words() == (
        "of 40 held-out normal clips the network takes 85.0 % for their own machine's, the nearest mean spectrum 55.0 %"
    )


@pytest.mark.parametrize(
    "counts",
    [
        {"both": 13},
        {"both": 9, "spectrum": 4},
        {"both": 9, "network": 2},
        {"network": 9, "spectrum": 4},
        {"neither": 3},
    ],
    ids=str,
)
def test_what_may_be_chance_is_no_share(counts: dict[str, int]) -> None:
    found = learnt(clips(**counts))
    assert found is not None
    assert found.share == 0


def test_a_perfect_network_has_most_of_what_the_spectrum_lacks() -> None:
    found = learnt(clips(network=400))
    assert found == Learnt(400, 400, 0, pytest.approx(1 - 1.645 / 20))


def test_windows_of_a_clip_are_one_clip() -> None:
    rows = clips(both=5, network=9)
    assert learnt(rows.join(rows)) == learnt(rows)


def test_without_held_out_clips_or_logits_nothing_is_known() -> None:
    rows = clips(both=3)
    bare = replace(rows, logits=torch.empty(len(rows), 0))
    for table in (rows.select(rows.held_out == 0), rows.select(rows.held_out == 1), bare):
        assert learnt(table) is None
