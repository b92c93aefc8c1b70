"""What the page on scale reckons with: figures of other parts, estimates where there are none, typical hardware."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from asd.config import load_config
from asd.tasks import build_task
from benchmarks.speed.part import load
from benchmarks.speed.scale.model import Link, Network

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SAMPLE_RATE, CLASSES = 16_000, 41

# name, config, clips/s of one H200 as worked out from its memory bandwidth and how published networks fare
ESTIMATED = (
    ("ResNet-50", "dcase2020_integrated", 8_000.0),
    ("TASTgram-MFN", "tastgram_noisy_arcmix_paper", 6_800.0),
    ("EfficientNet-B0", "pfu_efficientnet_1024", 8_300.0),
    ("MobileNetV2 0.5, 32 windows", "mobilenet_v2", 3_100.0),
)
COSTS = {  # of the other parts: figure → (estimate where it was not measured, what it is)
    "loader.cpu_us_per_clip": (71.0, "CPU µs a clip, our loader, PCM"),
    "loader.flac_cpu_us_per_clip": (1_400.0, "CPU µs a clip, our loader, FLAC"),
    "webdataset.cpu_us_per_clip": (473.0, "CPU µs a clip, webdataset, PCM"),
    "loader.clips_per_s": (40_000.0, "clips/s, our loader, two threads"),
    "packing.clips_per_s": (1_000.0, "clips/s packed by one machine"),
    "evaluation.score_20000_s": (2.0, "s to score 20,000 clips"),
    "start_up.manifest_1000000_s": (2.0, "s to load a manifest of 1,000,000 clips"),
    "start_up.memory_gib": (0.5, "GiB of a rank for 1,000,000 clips"),
}

NVLINK = Link("NVLink", 300.0, 3.0)
PCIE = Link("PCIe 4, no NVLink", 20.0, 5.0)
RAILS = Link("8 × 400 Gb/s a node", 360.0, 10.0)
FAST_NET = Link("400 Gb/s a node", 45.0, 10.0)
SLOW_NET = Link("100 Gb/s a node", 11.0, 20.0)
DISK_GB_PER_S = 1.0  # one process writing a checkpoint, fsync included
METADATA_PER_S = 20_000.0  # stat and open of a shared file system, all clients together
GPU_HOURS_PER_FAILURE = 50_000.0  # 419 unexpected stops of 16,384 GPUs in 54 days (Llama 3, 2024)


@dataclass(frozen=True)
class Storage:
    """Where clips may come from."""

    name: str
    node_gb_per_s: float
    total_gb_per_s: float | None  # of all nodes together; None: each node has its own


STORAGES = (
    Storage("page cache, host memory", 100.0, None),
    Storage("4 NVMe drives in the node", 26.0, None),
    Storage("shared parallel file system", 10.0, 200.0),
    Storage("object store", 8.0, 100.0),
)


@dataclass
class Figures:
    """Figures by name, and where each came from."""

    measured: dict[str, float]
    used: dict[str, tuple[float, str, str]] = field(default_factory=dict)  # name → value, what it is, origin

    @classmethod
    def of(cls, work: Path) -> Figures:
        """Of all parts that were measured, this one left out."""
        found: dict[str, float] = {}
        for path in sorted(work.glob("*.json")):
            if path.stem != "scale":
                found |= load(path)[0].figures
        return cls(found)

    def get(self, name: str, estimate: float, what: str) -> float:
        """The measured figure, or the estimate."""
        value, origin = (self.measured[name], "measured") if name in self.measured else (estimate, "estimate")
        self.used[name] = (value, what, origin)
        return value

    def cost(self, name: str) -> float:
        """One of COSTS."""
        return self.get(name, *COSTS[name])


def networks(figures: Figures) -> list[Network]:
    """Every network: its size counted, its speed measured on a card or estimated."""
    found = []
    for name, config, estimate in ESTIMATED:
        speed = figures.get(f"gpu.{config}.clips_per_s", estimate, f"clips/s of one GPU, {name}")
        parameters, embedding = _sizes(config)
        found.append(Network(name, config, parameters, speed, embedding))
    return found


def _sizes(config_name: str) -> tuple[int, int]:
    """Trained parameters, and D."""
    config = load_config(CONFIGS / f"{config_name}.yaml")
    torch.manual_seed(0)
    task = build_task(config, 0, SAMPLE_RATE, CLASSES)
    centres = next(p for name, p in task.named_parameters() if name.startswith("loss."))  # (classes, D)
    return sum(p.numel() for p in task.parameters() if p.requires_grad), centres.shape[1]
