"""The page of the speed suite: a part that was not measured again keeps its figures and its goals."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sections import read_section
from benchmarks.speed.__main__ import PARTS, renew
from benchmarks.speed.part import Goal, Part, Table, save


def test_a_part_without_figures_keeps_its_goals(tmp_path: Path) -> None:
    page, work = tmp_path / "page.md", tmp_path / "work"
    marks = ("<!-- {} " + name + ": made by a program, see the Makefile -->" for name in ("goals", *PARTS))
    page.write_text("\n".join(f"{mark.format('begin')}\n{mark.format('end')}\n" for mark in marks), encoding="utf-8")
    machine = dict.fromkeys(("processor", "cores", "card", "kernel", "python", "torch", "commit", "day"), "x")
    for name, found in (("loader", 0.5), ("packing", 2.0)):
        part = Part([Table(f"Table of {name}", ["a"], [["b"]])], [Goal(f"goal of {name}", [found], 1.0)])
        save(part, work / f"{name}.json", machine)
    renew(page, work)
    (work / "loader.json").unlink()
    save(Part([], [Goal("another goal", [3.0], 1.0)]), work / "packing.json", machine)
    renew(page, work)
    assert read_section(page, "goals").strip().splitlines()[2:] == [
        "| packing | another goal | ≥ 1 × | 3 (3 – 3) | yes |",
        "| loader | goal of loader | ≥ 1 × | 0.5 (0.5 – 0.5) | **no** |",
    ]
    assert "Table of loader" in read_section(page, "loader") and "Table of" not in read_section(page, "packing")
