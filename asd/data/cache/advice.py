"""Whether the cache of a node holds what the plan needs at a time (sets from elsewhere, asd.data.cache.cached_set)."""

from __future__ import annotations

import math

import numpy as np

from asd.data.manifest import Manifest
from asd.data.plan import Plan

GIB = 2**30
SHARE = 4  # of the cache for a window: half is for what is fetched ahead, and where one passes into another both count


def window_advice(manifest: Manifest, plan: Plan, cache_gib: float | None) -> str | None:
    """One line where an epoch would fetch shards more than once, with the `data.window` that helps; None elsewhere."""
    if cache_gib is None or manifest.tars is None:
        return None
    clips = np.unique(np.concatenate([stream.clips for stream in plan.streams]))
    shards = np.unique(manifest.column("shard")[clips])
    gib = sum(manifest.file.shards[shard].bytes for shard in shards) / GIB
    if gib <= cache_gib:
        return None
    wanted = max(1, math.floor(len(shards) * cache_gib / SHARE / gib))
    fitting = _rounded_down(wanted * len(clips) // len(shards))
    if plan.windows is None:
        return (
            f"warning: {gib:.3g} GiB of training shards do not fit data.cache_gib={cache_gib:.3g} and would be fetched "
            f"many times an epoch: data.window={fitting} downloads each once"
        )
    at_once = min(len(shards), math.ceil(plan.windows.clips * len(shards) / len(clips)))
    if at_once <= wanted:
        return None
    return (
        f"warning: data.window={plan.windows.clips} takes {gib * at_once / len(shards):.3g} GiB of shards, more than "
        f"a quarter of data.cache_gib={cache_gib:.3g}: shards may be downloaded more than once per epoch; "
        f"data.window={fitting} fits"
    )


def _rounded_down(count: int) -> int:
    """To two digits."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return max(1, count - count % unit)
