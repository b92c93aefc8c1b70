"""The identity of a run: every setting that changes what its network is, hears or learns.

A setting counts unless it is named here, so that a new one is covered from its first day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pydantic
from torch import nn

from asd.data.manifest import Manifest
from asd.run_folder import checkpoint

Difference = tuple[str, Any, Any]  # key, former value, value now

# How an evaluation is made, where, and how fast: what the words of eval.py may change.
EVALUATION = frozenset(
    {
        "evaluate", "checkpoint", "logging", "data.shards", "data.cache_dir", "data.cache_gib", "data.threads",
        "data.prefetch", "data.resident", "backbone.weights", "distributed.precision", "model.channels_last",
        "model.compile", "distributed.timeout_s",
    }
)  # fmt: skip
# What may change when a run goes on: also its length, how a batch is spread, what is shown and what stops it.
RESUMING = EVALUATION | {
    "run", "resume", "debug", "train.max_bad_fraction", "train.epochs", "train.steps", "train.accumulate",
    "train.log_every", "train.max_nonfinite", "train.ema", "train.profile", "monitor.stall_s",
}  # fmt: skip


def differences(former: pydantic.BaseModel, now: pydantic.BaseModel, free: Collection[str]) -> list[Difference]:
    """Every setting of two configs that differs and is not free, in their order."""
    return list(_differences(former.model_dump(mode="json"), now.model_dump(mode="json"), free, ""))


def _differences(
    former: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str], section: str
) -> Iterator[Difference]:
    if former.get("name") != now.get("name"):  # another part: the settings of the two have nothing in common
        yield f"{section}name", former.get("name"), now.get("name")
        return
    for name in dict.fromkeys([*former, *now]):
        key, before, after = section + name, former.get(name), now.get(name)
        if key in free or before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, free, f"{key}.")
        else:
            yield key, before, after


def in_words(found: Collection[Difference]) -> str:
    """The first few differences, for a line of text."""
    few = [f"{key} ({_short(before)}, now {_short(after)})" for key, before, after in list(found)[:3]]
    return ", ".join(few) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:56] + "…"


def network_signature(task: nn.Module) -> str:
    """A digest of the names and shapes of all weights: what a checkpoint must match to be loaded."""
    shapes = {name: tuple(tensor.shape) for name, tensor in task.state_dict().items()}
    return hashlib.sha256(str(sorted(shapes.items())).encode()).hexdigest()


def identity(manifest: Manifest, task: nn.Module, clusters: np.ndarray | None = None) -> dict[str, Any]:
    """What a run may not change when it goes on, beside its settings: the set, what a checkpoint's tensors are, and in
    which cluster each clip is where data.pseudo_labels has them found."""
    of_clusters = {} if clusters is None else {"pseudo_labels": hashlib.sha256(clusters.tobytes()).hexdigest()}
    return {
        "format": checkpoint.FORMAT_VERSION,
        "fingerprint": manifest.fingerprint,
        "network": network_signature(task),
        **of_clusters,
    }
