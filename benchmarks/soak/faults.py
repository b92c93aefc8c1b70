"""All faults, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.soak import damage, kills, remote, stops, storage
from benchmarks.soak.round import Round

FAULTS: dict[str, Callable[[Round], None]] = {
    fault.__name__: fault
    for fault in (
        kills.rank_killed,
        kills.rank_0_killed,
        kills.agent_killed,
        kills.scoring_killed,
        kills.power_cut,
        stops.stopped_in_save,
        stops.stopped_in_evaluation,
        stops.rank_paused,
        stops.rank_frozen,
        storage.disk_full,
        storage.slow_reads,
        damage.clip_flipped,
        damage.flac_clip_flipped,
        damage.tar_truncated,
        damage.tar_missing,
        damage.optimizer_truncated,
        damage.weights_flipped,
        remote.server_stalls,
        remote.server_dies,
    )
}


def what(name: str) -> str:
    """A fault in words."""
    return (FAULTS[name].__doc__ or name).splitlines()[0]
