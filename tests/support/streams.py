"""Splits and plans of the streams of a set."""

from __future__ import annotations

import pytest

from asd.data.manifest import Manifest
from asd.data.plan import Plan, make_plan
from asd.data.splits import Splits, make_splits
from asd.data.streams import StreamsConfig, make_streams
from asd.errors import UserError

CROP = 4_000


def splits_of(manifest: Manifest, val_fraction: float = 0.0) -> Splits:
    return make_splits(manifest, seed=0, val_fraction=val_fraction)


def plan_of(manifest: Manifest, streams: StreamsConfig, batch: int = 24, run_length: int = 1) -> Plan:
    return make_plan(make_streams(streams, manifest, splits_of(manifest), batch), seed=4, run_length=run_length)


def refusal(manifest: Manifest, streams: StreamsConfig, batch: int = 24) -> str:
    with pytest.raises(UserError) as caught:
        make_streams(streams, manifest, splits_of(manifest), batch)
    return str(caught.value)
