"""The attributes_SS.csv of DCASE 2022: one row a clip, `file_name,d1p,d1v,d2p,d2v`."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from shards.synth.clip import Clip
from shards.synth.domains import attributes


def write_attribute_files(clips: Iterable[Clip], path: Callable[[Clip], str], root: Path) -> None:
    """Write `<type>/attributes_SS.csv` for every section; file names are relative to the root of the set."""
    sections = defaultdict(list)
    for clip in clips:
        pairs = [word for pair in attributes(clip.settings) for word in pair]
        sections[clip.machine_type, clip.machine_id].append([path(clip), *pairs])
    for (machine_type, section), rows in sections.items():
        columns = [f"d{n}{what}" for n in range(1, len(rows[0]) // 2 + 1) for what in "pv"]
        with (root / machine_type / f"attributes_{section:02d}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([["file_name", *columns], *rows])
