"""The table of `eval.py clips`: whatever the terminal's width, no number and no word is cut."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from asd.data.manifest import MachineClass
from asd.detector.judge import ClipResult
from asd.detector.output import show
from asd.detector.recordings import Asked
from asd.text.terminal import open_console

REMARK = "windows that are clipped: 1 % of their samples or more are at full scale"
MACHINES = [MachineClass(machine_type="ToyConveyor", machine_id=f"0{number}") for number in range(2)]


def judged(number: int, label: int | None) -> ClipResult:
    verdict = ClipResult(Asked(Path(f"rec/line_{number}_morning.wav"), 0, label), MACHINES[number], 123.45 + number)
    verdict.seconds, verdict.scores, verdict.begins_s = 1234.5, [1.25e-7, 98765.0], [0.0, 10.0]
    verdict.remarks = [REMARK, "at 48828 Hz, trained on 16000 Hz"]
    return verdict


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("several", [False, True])
def test_nothing_is_cut(width: int, several: bool) -> None:
    verdicts = [judged(number, 0 if several else None) for number in range(2 if several else 1)]
    about = {"scorer": "knn", "threshold": None if several else 123.45, "channel": None, "machine_id": "00"}
    about["machine_type"] = None if several else "ToyConveyor"
    text = io.StringIO()
    show(open_console(file=text, width=width), verdicts, about)
    shown = text.getvalue()
    words = ["1234.5", "49383", "1 of 2", "anomaly", *(["124.45", "ToyConveyor/01", "normal"] if several else [])]
    assert [word for word in words if word not in shown] == []
    for word in [*REMARK.split(), "48828", "Hz,"]:
        assert word in shown
    if width == 80 and not several:
        assert max(map(len, shown.splitlines())) <= 80
