"""Recordings of several machines in a table."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from asd.errors import UserError
from tests.support.clips import clips, judged


@pytest.fixture
def of_two_machines(small_set: Path, tmp_path: Path) -> Path:
    """today.csv of pump 00 and fan 02 in turn, each with a normal and an anomalous clip, and a fan without a label."""
    lines = ["path,machine_type,machine_id,split,label"]
    for number in range(2):
        for label in ("normal", "anomaly"):
            for machine, own in (("pump", "00"), ("fan", "02")):
                source = small_set.parent / "recordings" / machine / "test" / f"{label}_id_{own}_{number:08d}.wav"
                name = f"{machine}_{label}_{number}.wav"
                shutil.copy(source, tmp_path / name)
                lines.append(f"{name},{machine},{own},test,{label if number == 0 else ''}")
    (tmp_path / "today.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return tmp_path / "today.csv"


def test_each_row_of_a_table_is_judged_by_its_own_machine(
    detector: Path, of_two_machines: Path, tmp_path: Path, capfd: Any
) -> None:
    words = ["--detector", detector, "--scorer", "knn"]
    together = judged(tmp_path / "all.json", *words, of_two_machines, "--plot", tmp_path / "plots")
    said = capfd.readouterr().err
    assert (together["machine_type"], together["machine_id"], together["threshold"]) == (None, None, None)
    assert [clip["machine_type"] for clip in together["clips"]] == ["pump", "fan"] * 4
    assert [clip["label"] for clip in together["clips"]] == ["normal"] * 2 + ["anomaly"] * 2 + [None] * 4
    for machine, own in (("pump", "00"), ("fan", "02")):
        rows = [clip for clip in together["clips"] if clip["machine_type"] == machine]
        paths = [clip["file"] for clip in rows]
        alone = judged(tmp_path / "alone.json", *words, *paths, "--machine", machine, "--id", own)
        assert [row | {"label": None} for row in rows] == alone["clips"]
        assert {row["threshold"] for row in rows} == {alone["threshold"]}
        called = {row["label"]: row["decision"] == "anomaly" for row in rows}
        line = (
            f"{called['anomaly']:d} of 1 anomalies found, {called['normal']:d} of 1 normal recordings called anomalies"
        )
        assert f"{machine}/{own}: {line}\n" in said
    assert (tmp_path / "plots" / "overview.png").is_file()
    assert clips(*words, of_two_machines) == 0
    shown = capfd.readouterr().out
    assert "fan/02" in shown
    assert "threshold" in shown


def test_a_row_that_cannot_be_read_is_named(detector: Path, of_two_machines: Path, capfd: Any) -> None:
    (of_two_machines.parent / "fan_normal_0.wav").unlink()
    assert clips("--detector", detector, of_two_machines) == 1
    said = capfd.readouterr().err
    assert "warning: 1 of 8 recordings have no score, first: " in said
    assert f"fan_normal_0.wav ({of_two_machines}:3): No such file" in said


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "machine_type,machine_id\npump,00\n",
            "csv:1: the first line must name the columns path and may name machine_type",
        ),
        ("path,machine_type,machine_id\n", "lists no recording"),
        (
            "path,machine_type,machine_id\na.wav,pump,00\nb.wav,lathe,00\n",
            "csv:3: lathe/00 is not a machine of the detector: it has fan/00, fan/02",
        ),
        ("path,machine_type\na.wav,fan\n", "csv:2: fan/? is not a machine of the detector"),
        ("path,machine_type,machine_id\na.wav,pump\n", "csv:2: the line has another number of cells"),
        ("path,machine_type,machine_id\n,pump,00\n", "csv:2: it names no path"),
        (
            "path,machine_type,machine_id,label\na.wav,pump,00,broken\n",
            "csv:2: label is 'broken', not one of (empty), normal, anomaly, unknown",
        ),
    ],
)
def test_mistakes_in_a_table_are_told_with_their_line(detector: Path, tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "today.csv").write_text(table)
    with pytest.raises(UserError, match=re.escape(said)):
        clips("--detector", detector, tmp_path / "today.csv")


def test_a_table_stands_alone(detector: Path, of_two_machines: Path) -> None:
    with pytest.raises(UserError, match=r"today\.csv names the machine of each recording"):
        clips("--detector", detector, of_two_machines, "--machine", "pump")
    with pytest.raises(UserError, match="name it alone"):
        clips("--detector", detector, of_two_machines, of_two_machines.parent)
    with pytest.raises(UserError, match=r"there is no file or folder nowhere\.csv"):
        clips("--detector", detector, "nowhere.csv")
