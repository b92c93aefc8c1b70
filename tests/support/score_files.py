"""Score files and ground truth of a few clips."""

from __future__ import annotations

from pathlib import Path

from asd.dcase.rules import SectionClips
from asd.metrics.decisions import NO_DECISION
from tests.support.official_files import (
    Made,
)


def rows_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def check_read(found: dict[str, dict[str, SectionClips]], made: Made, decided: bool = True) -> None:
    """Every clip stands once in its section with its own label, score, domain and decision."""
    assert {m: set(own) for m, own in found.items()} == {
        m: {c.section for c in made.clips if c.machine == m} for m in {c.machine for c in made.clips}
    }
    for machine, own in found.items():
        for section, clips in own.items():
            read = zip(clips.label, clips.score, clips.domain, clips.decision, strict=True)
            there = [
                (
                    c.label,
                    c.score,
                    "" if made.layout == "dcase2020" else c.domain,
                    c.decision if decided else NO_DECISION,
                )
                for c in made.of(machine, section)
            ]
            assert sorted(read) == sorted(there)
