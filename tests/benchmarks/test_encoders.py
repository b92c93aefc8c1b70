"""The benchmark of encoders, with small ones in place of those of published size."""

from __future__ import annotations

from asd.backbones.encoders.eat import EatSizes
from benchmarks import encoders


def test_every_way_is_timed_in_turns_and_learns_what_it_says(monkeypatch) -> None:
    monkeypatch.setitem(encoders.SIZES, "eat", EatSizes(embed_dim=16, depth=12, num_heads=2))
    monkeypatch.setattr(encoders, "SECONDS", 1)
    found = encoders.times("eat", clips=2, rounds=2)
    assert list(found) == list(encoders.WAYS)
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in found.values())
    held = {way: encoders.memory("eat", way, clips=2) for way in encoders.WAYS}
    learn = {way: row["learn"] for way, row in held.items()}
    assert learn["embedding"] == 0
    assert 0 < learn["LoRA step"] == learn["LoRA step, checkpointing"]
    full = held["full step, checkpointing"]
    assert full["learn"] > full["parameters"] > held["embedding"]["parameters"]  # class centres; pooling and projection
    assert all(row["gib"] > 0 for row in held.values())
