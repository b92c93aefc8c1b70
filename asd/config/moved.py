"""Settings that had another place or name in earlier versions: runs, configs and words of those are still read."""

from __future__ import annotations

from typing import Any

MOVED = {
    "train.precision": "distributed.precision",
    "train.timeout_s": "distributed.timeout_s",
    "train.freeze": "model.freeze",
    "train.channels_last": "model.channels_last",
    "train.compile": "model.compile",
    "train.stall_s": "monitor.stall_s",
    "data.max_bad_fraction": "train.max_bad_fraction",
    "mixup.of": "mixup.input",
    "task.of": "task.mixup_input",
}  # 2026-11-30


def move_settings(tree: dict[str, Any]) -> None:
    """Put what a tree of settings holds at former places where it belongs now."""
    for former, now in MOVED.items():
        (section, name), (owner, leaf) = former.split("."), now.split(".")
        if isinstance(tree.get(section), dict) and name in tree[section]:
            value = tree[section].pop(name)
            if isinstance(own := tree.setdefault(owner, {}), dict):
                own.setdefault(leaf, value)
