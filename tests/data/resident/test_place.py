"""Where a set is held: as asked for where there is room, and by `auto` where half of what is free is enough."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asd.data.resident import place
from asd.data.resident.place import GIB, choose
from asd.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with 16 GiB to spare, and GPUs with 8."""
    monkeypatch.setattr(place, "free_host_bytes", lambda: 16 * GIB)
    monkeypatch.setattr(place, "free_device_bytes", lambda device: 8 * GIB)


@pytest.mark.parametrize(
    ("wanted", "gib", "device", "found"),
    [
        ("off", 1, GPU, "off"),
        ("auto", 4, GPU, "device"),
        ("auto", 4.1, GPU, "host"),
        ("auto", 8.1, GPU, "off"),
        ("auto", 4, CPU, "host"),
        ("auto", 8.1, CPU, "off"),
        ("host", 15, CPU, "host"),
        ("host", 15, GPU, "host"),
        ("device", 7, GPU, "device"),
    ],
)
def test_the_first_place_with_room(wanted: str, gib: float, device: torch.device, found: str) -> None:
    assert choose(wanted, int(gib * GIB), device) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "gib", "device", "words"),
    [
        ("host", 17, CPU, r"data.resident=host: the set has 17 GiB and 16 GiB are free \(memory of this node\): name"),
        ("device", 9, GPU, r"data.resident=device: the set has 9 GiB and 8 GiB are free \(cuda:0\): name"),
        ("device", 1, CPU, "data.resident=device needs a GPU, this run is on the CPU: name host, auto or off"),
    ],
)
def test_a_place_without_room_is_refused(wanted: str, gib: float, device: torch.device, words: str) -> None:
    with pytest.raises(UserError, match=words):
        choose(wanted, int(gib * GIB), device)  # type: ignore[arg-type]


def test_a_container_has_less_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(place, "CGROUP", tmp_path)
    assert place.free_host_bytes() > 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("4000000\n")
    assert place.free_host_bytes() > 1_000_000
    (tmp_path / "memory.max").write_text("5000000\n")
    assert place.free_host_bytes() == 1_000_000
