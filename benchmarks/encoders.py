"""Time and memory of encoders of published size with random weights: of embedding, and of training steps.

`python -m benchmarks.encoders`: a table, a row for each way to use one. Memory is that of a process of its own. Times
are taken in turns in one process; on a CPU they are the processor time of one thread, little of which is others' work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from asd.backbones.encoders.beats import BeatsSizes
from asd.backbones.encoders.eat import EatSizes
from asd.data.batch import Batch
from asd.tasks.base import Task
from asd.tasks.build import build_task
from asd.tasks.system import System
from asd.text.markdown import markdown_table
from benchmarks.speed.measure import interleaved, memory_mib, ratios, spread
from benchmarks.speed.steps import synchronise

SIZES: dict[str, Any] = {
    "beats": BeatsSizes(
        embed_dim=512, encoder_layers=12, encoder_embed_dim=768, encoder_ffn_embed_dim=3072,
        encoder_attention_heads=12, deep_norm=True,
    ),
    "eat": EatSizes(),
}  # fmt: skip
EMBED = "embedding"
WAYS: dict[str, dict[str, Any] | None] = {
    EMBED: None,
    "LoRA step": {"tune": "lora"},
    "LoRA step, checkpointing": {"tune": "lora", "checkpointing": True},
    "full step, checkpointing": {"tune": "all", "checkpointing": True},
}
SECONDS, CLASSES = 10, 41


class Work(NamedTuple):
    """One way to use an encoder."""

    task: Task
    learning: Sequence[nn.Parameter]
    step: Callable[[], None]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders", description=__doc__)
    parser.add_argument("--encoder", choices=SIZES, action="append", help="repeatable (default: all)")
    parser.add_argument("--clips", type=int, default=2, help="clips of a batch (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each way is timed (default 3)")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--times", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    encoders = args.encoder or list(SIZES)
    if args.memory_of or args.times:
        torch.set_num_threads(1)
        found = (
            times(encoders[0], args.clips, args.rounds)
            if args.times
            else memory(encoders[0], args.memory_of, args.clips)
        )
        print(json.dumps(found))
        return
    device = "one GPU" if torch.cuda.is_available() else "one CPU thread, its processor time"
    print(f"batches of {args.clips} clips of {SECONDS} s, {device}; median (range) of {args.rounds} rounds:\n")
    rows = [row for encoder in encoders for row in _rows(encoder, args.clips, args.rounds)]
    print(
        markdown_table(
            ["encoder", "what", "parameters", "that learn", "s a clip", "against embedding", "GiB at most"], rows
        )
    )


def _rows(encoder: str, clips: int, rounds: int) -> list[list[str]]:
    def measured(*words: str) -> Any:
        command = [sys.executable, "-m", __spec__.name, "--encoder", encoder, "--clips", str(clips), *words]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

    spent, rows = measured("--times", "--rounds", str(rounds)), []
    for way in WAYS:
        held = measured("--memory-of", way)
        counts = [f"{held[name] / 1e6:.1f} M" for name in ("parameters", "learn")]
        against = "1" if way == EMBED else spread(ratios(spent[way], spent[EMBED]), 2)
        rows.append([encoder, way, *counts, spread(spent[way], 2), against, f"{held['gib']:.1f}"])
    return rows


def memory(encoder: str, way: str, clips: int) -> dict[str, float]:
    """Sizes, and after two steps the peak memory of this process (of the GPU where there is one)."""
    device = _device()
    work = work_of(encoder, way, clips, device)
    for _ in range(2):
        work.step()
    peak_gib = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else memory_mib()["peak"] / 1024
    count = sum(p.numel() for p in work.task.core.parameters())
    return {"parameters": count, "learn": sum(p.numel() for p in work.learning), "gib": peak_gib}


def times(encoder: str, clips: int, rounds: int) -> dict[str, list[float]]:
    """Way → seconds a clip in each round, after a step that does not count."""
    device = _device()
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    works = {way: work_of(encoder, way, clips, device).step for way in WAYS}

    def seconds_of(step: Callable[[], None]) -> float:
        begin = clock()
        step()
        synchronise(device)
        return (clock() - begin) / clips

    for step in works.values():
        step()
    return interleaved({way: lambda own=step: seconds_of(own) for way, step in works.items()}, rounds)  # type: ignore[misc]


def work_of(encoder: str, way: str, clips: int, device: torch.device) -> Work:
    """Embedding, or a training step with AdamW, on a batch of noise."""
    task = build_task(system_of(encoder, WAYS[way]), 0, 16_000, CLASSES).to(device)
    batch = noise(clips).to(device)
    if WAYS[way] is None:
        return Work(task, [], lambda: _embed(task.eval(), batch))
    learning = [p for p in task.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = task(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Work(task, learning, step)


def _embed(task: Task, batch: Batch) -> None:
    device = batch.waveform.device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        task.embed(batch)


def system_of(encoder: str, settings: dict[str, Any] | None) -> System:
    parts: dict[str, Any] = {"name": encoder, "sizes": SIZES[encoder]}
    task: dict[str, Any] = {"task": {"name": "untrained"}}
    if settings is not None:
        parts |= {**settings, "pool": "attentive", "project": 256}
        task = {"loss": {"name": "sub_cluster_adacos"}}
    return System.model_validate({**task, "frontend": {"name": "waveform"}, "backbone": parts})


def noise(clips: int) -> Batch:
    waveform = torch.randint(-8000, 8000, (clips, SECONDS * 16_000), dtype=torch.int16)
    rows = torch.arange(clips)
    return Batch(waveform, torch.full_like(rows, SECONDS * 16_000), rows, rows, 0 * rows, rows >= 0, 0, 0, 0)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    main()
