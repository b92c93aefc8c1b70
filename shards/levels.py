"""Warnings about the levels of clips, by fault and machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from asd.audio.levels import FAULTS, NOTHING_TO_LEARN
from shards.layouts.clip import first_few


class ClipLevel(NamedTuple):
    """What is odd about the levels of one packed clip."""

    machine: str
    split: str
    name: str
    faults: tuple[str, ...]
    is_known_fault: bool = False


def level_lines(clips: Sequence[ClipLevel]) -> Iterator[str]:
    """A line a fault: `warning: 3 of 90 clips are silent: … (fan/1 3 of 30), first: rec/a.wav`."""
    totals = Counter(clip.machine for clip in clips)
    for fault, what in FAULTS.items():
        odd = [clip for clip in clips if fault in clip.faults]
        if odd:
            counts = Counter(clip.machine for clip in odd)
            machines = first_few(f"{machine} {count} of {totals[machine]}" for machine, count in counts.most_common())
            yield f"warning: {len(odd)} of {len(clips)} clips {what} ({machines}), first: {odd[0].name}"
    if dead := soundless(clips):
        first = next(iter(dead.values()))[0].name
        yield f"WARNING: no training clip of {first_few(dead)} has sound: training refuses this set, first: {first}"


def soundless(clips: Sequence[ClipLevel]) -> dict[str, list[ClipLevel]]:
    """Machine → its normal training clips, of every machine of which none holds sound: training refuses these."""
    training: dict[str, list[ClipLevel]] = {}
    for clip in clips:
        if clip.split == "train" and not clip.is_known_fault:
            training.setdefault(clip.machine, []).append(clip)
    return {m: found for m, found in training.items() if all(NOTHING_TO_LEARN & set(clip.faults) for clip in found)}
