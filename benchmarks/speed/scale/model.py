"""What a job of many GPUs costs, by formulas that fit on a page. Seconds, bytes, clips; a node holds 8 GPUs.

All-reduce: a ring of n sends every byte 2(n − 1)/n times over each link, in 2(n − 1) messages one behind the other; two
trees (Sanders et al. 2009, what NCCL uses for many nodes) send it twice, in 2·log₂ n messages. The faster one counts.
Across nodes the gradient is summed within each node first, and then crosses the node's link once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NODE = 8  # GPUs
CLIP_BYTES = 320_000  # 10 s, 16 kHz, PCM16
BUCKET_BYTES = 25 * 2**20  # DDP's default: gradients are exchanged by so much, each as soon as it is complete
BACKWARD = 2 / 3  # of a step: two of its three passes
STATE_BYTES = 12  # a parameter in a checkpoint: itself and Adam's two moments in float32


@dataclass(frozen=True)
class Link:
    """What one member of a ring can send, and how long a message takes at least."""

    name: str
    gb_per_s: float
    latency_us: float


@dataclass(frozen=True)
class Network:
    """A config's network, and how fast one GPU trains it."""

    name: str
    config: str
    parameters: int
    clips_per_s: float
    embedding: int  # D

    @property
    def gradient_bytes(self) -> int:
        return 4 * self.parameters


@dataclass(frozen=True)
class Job:
    """So many GPUs, a whole node at least, each with `batch` clips of a global batch."""

    gpus: int
    batch: int = 64

    @property
    def nodes(self) -> int:
        return -(-self.gpus // NODE)

    @property
    def global_batch(self) -> int:
        return self.gpus * self.batch

    def steps_per_epoch(self, clips: int) -> int:
        return clips // self.global_batch


def ring_s(size: float, members: int, link: Link) -> float:
    """Seconds of one all-reduce of `size` bytes round a ring."""
    messages = 2 * (members - 1)
    return size * messages / members / (link.gb_per_s * 1e9) + messages * link.latency_us * 1e-6


def trees_s(size: float, members: int, link: Link) -> float:
    """The same up and down two trees."""
    if members == 1:
        return 0.0
    return 2 * size / (link.gb_per_s * 1e9) + 2 * math.ceil(math.log2(members)) * link.latency_us * 1e-6


def all_reduce_s(size: float, gpus: int, within: Link, between: Link) -> float:
    """Within the nodes, then between them."""
    nodes = -(-gpus // NODE)
    across = min(ring_s(size, nodes, between), trees_s(size, nodes, between))
    return ring_s(size, min(gpus, NODE), within) + across


def exposed_s(network: Network, job: Job, within: Link, between: Link) -> float:
    """What of the all-reduce the backward pass does not hide: its last bucket, or all that is longer than itself."""
    whole = all_reduce_s(network.gradient_bytes, job.gpus, within, between)
    last = all_reduce_s(min(network.gradient_bytes, BUCKET_BYTES), job.gpus, within, between)
    return max(last, whole - BACKWARD * step_s(network, job))


def step_s(network: Network, job: Job) -> float:
    """One step of one GPU alone."""
    return job.batch / network.clips_per_s


def efficiency(network: Network, job: Job, within: Link, between: Link) -> float:
    """Clips/s of the job over those of as many GPUs that need not talk."""
    alone = step_s(network, job)
    return alone / (alone + exposed_s(network, job, within, between))


def read_gb_per_s(clips_per_s: float, gpus: int) -> float:
    return clips_per_s * CLIP_BYTES * gpus / 1e9


def cores_per_node(clips_per_s: float, cpu_us_per_clip: float) -> float:
    """CPU cores that feed the GPUs of a node."""
    return NODE * clips_per_s * cpu_us_per_clip * 1e-6


def checkpoint_s(network: Network, disk_gb_per_s: float) -> float:
    """Rank 0 writes weights and optimiser while the others wait."""
    return network.parameters * STATE_BYTES / (disk_gb_per_s * 1e9)


def save_every_s(save_s: float, gpus: int, gpu_hours_per_failure: float) -> float:
    """Seconds between saves that lose least (Young 1974): √(2 · save · mean time between failures)."""
    return math.sqrt(2 * save_s * gpu_hours_per_failure * 3600 / gpus)
