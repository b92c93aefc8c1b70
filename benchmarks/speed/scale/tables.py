"""The tables of the page on scale."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.speed.measure import Rounds, median, spread
from benchmarks.speed.part import Table
from benchmarks.speed.scale.inputs import (
    DISK_GB_PER_S,
    FAST_NET,
    METADATA_PER_S,
    NVLINK,
    PCIE,
    RAILS,
    SLOW_NET,
    STORAGES,
    Figures,
    Storage,
)
from benchmarks.speed.scale.model import (
    CLIP_BYTES,
    NODE,
    Job,
    Link,
    Network,
    all_reduce_s,
    checkpoint_s,
    cores_per_node,
    efficiency,
    read_gb_per_s,
)

JOBS = (Job(8), Job(64), Job(1024))
SETS = {"DCASE 2020": 31_000, "100,000 clips": 100_000, "1,000,000 clips": 1_000_000, "10,000,000 clips": 10_000_000}
SHARD_BYTES = 256 * 2**20  # shards.pack's default
PLACES_GB = {"one card, 24 GB": 24.0, "H200, 141 GB": 141.0, "8 × H200, shared": 8 * 141.0, "host, 1 TB": 1000.0}
CONNECTIONS: tuple[tuple[Job, Link, Link], ...] = (
    (JOBS[0], PCIE, FAST_NET),
    (JOBS[0], NVLINK, FAST_NET),
    (JOBS[1], NVLINK, SLOW_NET),
    (JOBS[1], NVLINK, FAST_NET),
    (JOBS[1], NVLINK, RAILS),
    (JOBS[2], NVLINK, FAST_NET),
    (JOBS[2], NVLINK, RAILS),
)


def reading(networks: Sequence[Network], figures: Figures) -> Table:
    """What the loader must bring."""
    costs = [figures.cost(f"{name}_us_per_clip") for name in ("loader.cpu", "loader.flac_cpu", "webdataset.cpu")]
    rows = []
    for network in networks:
        speed = network.clips_per_s
        needs = [read_gb_per_s(speed, gpus) for gpus in (1, NODE, *(job.gpus for job in JOBS[1:]))]
        cores = [cores_per_node(speed, cost) for cost in costs]
        rows.append(
            [network.name, f"{speed:,.0f}", *(f"{need:,.1f}" for need in needs), *(f"{core:.1f}" for core in cores)]
        )
    return Table(
        "Reading: clips/s of a GPU, PCM bytes a second, and the CPU cores of a node of 8 GPUs that deliver them (whole "
        "clips of 10 s; shorter crops need less).",
        [
            *("network", "clips/s a GPU", "GB/s a GPU", "a node", "64 GPUs", "1,024 GPUs"),
            *("cores a node: ours", "ours, FLAC", "webdataset"),
        ],
        rows,
    )


def storing(networks: Sequence[Network]) -> Table:
    """Who can bring it."""
    fastest = max(network.clips_per_s for network in networks)
    slowest = min(network.clips_per_s for network in networks)
    rows = []
    for storage in STORAGES:
        total = "each its own" if storage.total_gb_per_s is None else f"{storage.total_gb_per_s:,.0f}"
        shares = [_shares(storage, job, (fastest, slowest)) for job in JOBS]
        rows.append([storage.name, f"{storage.node_gb_per_s:,.0f}", total, *shares])
    return Table(
        f"Storage: how much of what the fastest ({fastest:,.0f} clips/s a GPU) and the slowest network "
        f"({slowest:,.0f}) read it delivers. Bandwidths are typical ones.",
        ["where the tars lie", "GB/s a node", "GB/s in all", *(f"{job.gpus:,} GPUs" for job in JOBS)],
        rows,
    )


def _shares(storage: Storage, job: Job, speeds: Sequence[float]) -> str:
    node = storage.node_gb_per_s
    if storage.total_gb_per_s is not None:
        node = min(node, storage.total_gb_per_s / job.nodes)
    return " / ".join(f"{min(1.0, node / read_gb_per_s(speed, NODE)):.0%}" for speed in speeds)


def holding() -> Table:
    """Where a whole set fits, so that storage is read once."""
    rows = []
    for name, clips in SETS.items():
        gb = clips * CLIP_BYTES / 1e9
        once = [_once_s(gb, storage, JOBS[0]) for storage in STORAGES[2:]]
        fits = ["yes" if gb <= room else "no" for room in PLACES_GB.values()]
        rows.append([name, f"{gb:,.0f}", *fits, *(f"{seconds:,.0f} s" for seconds in once)])
    return Table(
        "Keeping the set: where all of it fits as int16, and how long one node takes to fetch it once.",
        ["set", "GB", *PLACES_GB, *(f"from the {storage.name}" for storage in STORAGES[2:])],
        rows,
    )


def _once_s(gb: float, storage: Storage, job: Job) -> float:
    assert storage.total_gb_per_s is not None
    return gb / min(storage.node_gb_per_s * job.nodes, storage.total_gb_per_s)


def exchanging(networks: Sequence[Network], gloo: Sequence[Rounds]) -> Table:
    """All-reduce and what it leaves of the speed."""
    rows = []
    for network, seconds in zip(networks, gloo, strict=True):
        cells = []
        for job, within, between in CONNECTIONS:
            whole = all_reduce_s(network.gradient_bytes, job.gpus, within, between)
            cells.append(f"{1000 * whole:.2f} ms, {efficiency(network, job, within, between):.3f}")
        megabytes = f"{network.gradient_bytes / 1e6:.1f}"
        rows.append([network.name, megabytes, spread([1000 * s for s in seconds], 1), *cells])
    head = [_connection(*connection) for connection in CONNECTIONS]
    return Table(
        "Exchange: one all-reduce of the gradients (float32), measured on two gloo ranks of this machine and reckoned "
        "for GPUs; behind it the efficiency at 64 clips a GPU: speed over that of GPUs which need not talk.",
        ["network", "MB", "2 gloo ranks here, ms", *head],
        rows,
    )


def _connection(job: Job, within: Link, between: Link) -> str:
    return f"{job.gpus:,} GPUs, {within.name if job.nodes == 1 else between.name}"


def batches() -> Table:
    """Steps of an epoch, which shrink with the number of GPUs."""
    jobs = [*JOBS, Job(1024, batch=8)]
    training = SETS | {"DCASE 2020": 20_119}  # the development set's; the other clips are for testing
    rows = [[name, *(f"{job.steps_per_epoch(clips):,}" for job in jobs)] for name, clips in training.items()]
    return Table(
        "Steps of an epoch. With none, training is refused at the start, by a line that says why.",
        ["set", *(f"{job.gpus:,} × {job.batch}" for job in jobs)],
        rows,
    )


def epochs(network: Network, figures: Figures, plan: Rounds, gloo_gb_per_s: float) -> Table:
    """What comes once an epoch or once an evaluation, beside an epoch of a million clips."""
    clips = 1_000_000
    seconds = {job: clips / (network.clips_per_s * job.gpus) for job in JOBS}
    embed = {job: 2 * clips / (3 * network.clips_per_s * job.gpus) for job in JOBS}
    once = {
        "order of the next epoch (measured here)": dict.fromkeys(JOBS, median(plan)),
        "checkpoint, rank 0 (every epoch)": dict.fromkeys(JOBS, checkpoint_s(network, DISK_GB_PER_S)),
        "evaluation: embedding all clips": embed,
        "evaluation: embeddings to rank 0": dict.fromkeys(JOBS, 4 * network.embedding * clips / (gloo_gb_per_s * 1e9)),
        "evaluation: scoring, beside training": dict.fromkeys(
            JOBS, figures.cost("evaluation.score_20000_s") * (clips / 20_000) ** 2
        ),
    }
    rows = [[f"an epoch of {clips:,} clips", *(f"{seconds[job]:,.2f} s" for job in JOBS)]]
    rows += [[what, *(f"{cost[job]:,.2f} s" for job in JOBS)] for what, cost in once.items()]
    return Table(
        f"What does not shrink with the number of GPUs: {network.name}, {clips:,} clips.",
        ["", *(f"{job.gpus:,} GPUs" for job in JOBS)],
        rows,
    )


def starting(figures: Figures) -> Table:
    """Before the first step: every rank loads the manifest and looks at every tar."""
    load_s, memory = figures.cost("start_up.manifest_1000000_s"), figures.cost("start_up.memory_gib")
    packed = figures.cost("packing.clips_per_s")
    rows = []
    for name, clips in SETS.items():
        tars = -(-clips * CLIP_BYTES // SHARD_BYTES)
        looks = [f"{tars * job.gpus / METADATA_PER_S:,.1f} s" for job in JOBS]
        millions = clips / 1_000_000
        rows.append(
            [
                name,
                f"{clips / packed / 60:.2g} min",
                f"{tars:,}",
                f"{load_s * millions:.2g} s",
                f"{NODE * memory * millions:.2g} GiB",
                *looks,
            ]
        )
    return Table(
        f"Start: the manifest on every rank, and one look at every tar from every rank of a shared file system that "
        f"answers {METADATA_PER_S:,.0f} such calls a second.",
        [
            "set",
            "packing, one machine",
            "tars",
            "manifest",
            "memory of 8 ranks",
            *(f"looks, {job.gpus:,} ranks" for job in JOBS),
        ],
        rows,
    )


def inputs(figures: Figures) -> Table:
    """Where every number came from."""
    rows = [
        [what, f"{value:,.3g}" if value < 100 else f"{value:,.0f}", origin]
        for value, what, origin in figures.used.values()
    ]
    for link in (NVLINK, PCIE, RAILS, FAST_NET, SLOW_NET):
        rows.append([f"{link.name}: GB/s one way, µs a message", f"{link.gb_per_s:g}, {link.latency_us:g}", "typical"])
    rows.append(["checkpoint, GB/s of one process with fsync", f"{DISK_GB_PER_S:g}", "typical"])
    return Table("What was put in.", ["", "value", "from"], rows)
