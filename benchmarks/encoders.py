"""Time and memory of encoders of published size with random weights: of embedding, and of training steps.

`python -m benchmarks.encoders`: a table, a row for each way to use one; each is measured in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import torch

from asd.backbones.encoders.beats import BeatsSizes
from asd.backbones.encoders.eat import EatSizes
from asd.data.batch import Batch
from asd.tasks.build import build_task
from asd.tasks.system import System
from asd.text.markdown import markdown_table
from benchmarks.speed.measure import memory_mib
from benchmarks.speed.step_costs import median_s

SIZES: dict[str, Any] = {
    "beats": BeatsSizes(
        embed_dim=512, encoder_layers=12, encoder_embed_dim=768, encoder_ffn_embed_dim=3072,
        encoder_attention_heads=12, deep_norm=True,
    ),
    "eat": EatSizes(),
}  # fmt: skip
WAYS: dict[str, dict[str, Any] | None] = {
    "embed": None,
    "LoRA step": {"tune": "lora"},
    "LoRA step, checkpointing": {"tune": "lora", "checkpointing": True},
    "full step, checkpointing": {"tune": "all", "checkpointing": True},
}
CLIPS, SECONDS, CLASSES, REPEATS = 8, 10, 41, 3


def main() -> None:
    device = "one GPU" if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    print(f"batches of {CLIPS} clips of {SECONDS} s, {device}:\n")
    rows = []
    for encoder in SIZES:
        for way in WAYS:
            command = [sys.executable, "-m", __spec__.name, encoder, way]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            counts = [f"{found[name] / 1e6:.1f} M" for name in ("parameters", "learn")]
            rows.append([encoder, way, *counts, f"{found['s']:.1f}", f"{found['gib']:.1f}"])
    print(markdown_table(["encoder", "what", "parameters", "that learn", "s", "GiB at most"], rows))


def measure(encoder: str, way: str) -> dict[str, float]:
    """Median seconds of a batch after a first one, and peak memory of the process (of the GPU where there is one)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = build_task(system_of(encoder, WAYS[way]), 0, 16_000, CLASSES).to(device)
    learning = [p for p in task.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4) if WAYS[way] is not None else None
    batch = noise().to(device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if optimizer is None:
                task.eval().embed(batch)
                return
            loss = task(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    seconds = median_s(step, device, REPEATS)
    peak_gib = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else memory_mib()["peak"] / 1024
    learn = sum(p.numel() for p in learning) if optimizer else 0
    count = sum(p.numel() for p in task.core.parameters())
    return {"parameters": count, "learn": learn, "s": seconds, "gib": peak_gib}


def system_of(encoder: str, settings: dict[str, Any] | None) -> System:
    parts: dict[str, Any] = {"name": encoder, "sizes": SIZES[encoder]}
    task: dict[str, Any] = {"task": {"name": "untrained"}}
    if settings is not None:
        parts |= {**settings, "pool": "attentive", "project": 256}
        task = {"loss": {"name": "sub_cluster_adacos"}}
    return System.model_validate({**task, "frontend": {"name": "waveform"}, "backbone": parts})


def noise() -> Batch:
    waveform = torch.randint(-8000, 8000, (CLIPS, SECONDS * 16_000), dtype=torch.int16)
    rows = torch.arange(CLIPS)
    return Batch(waveform, torch.full_like(rows, SECONDS * 16_000), rows, rows, 0 * rows, rows >= 0, 0, 0, 0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(*sys.argv[1:3])))
    else:
        main()
