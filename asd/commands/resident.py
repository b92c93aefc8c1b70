"""The samples of a training in memory, loaded by all ranks of a node together."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import numpy as np
import torch
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from asd.commands.resume import say
from asd.config.build import Data, Setup
from asd.data.loader import BatchSource, Loader
from asd.data.resident import shared
from asd.data.resident.held import Held, Layout
from asd.data.resident.loading import load
from asd.data.resident.on_device import DeviceLoader
from asd.data.resident.place import GIB, Place, choose
from asd.data.resident.reader import memory_loader
from asd.distributed.ranks import Ranks
from asd.process.stop import StoppedError, StopSignal
from asd.text.terminal import open_console


def hold(setup: Setup, ranks: Ranks, stop: StopSignal) -> Held | None:
    """What `data.resident` asks for, on this rank's device or in memory that its node shares; None: read from tars.

    Raises StoppedError on all ranks where one was asked to stop meanwhile.
    """
    wanted = setup.config.data.resident
    if wanted == "off":
        return None
    layout = Layout.of(setup.data.manifest, _used(setup.data))
    place = _agreed(ranks.gather_objects(ranks.run_on_all(lambda: choose(wanted, layout.bytes, ranks.device))))
    size = f"{layout.bytes / GIB:.3g} GiB of clips"
    if place == "off":
        say(ranks, f"data.resident={wanted}: {size} are more than half of what is free: they are read from the tars")
        return None
    say(ranks, f"data.resident={wanted}: {size} into {'every GPU' if place == 'device' else 'the memory of each node'}")
    held = _loaded(setup, layout, ranks, stop)
    return ranks.run_on_all(lambda: held.to(ranks.device)) if place == "device" else held


def open_loader(setup: Setup, ranks: Ranks, held: Held | None, stop: StopSignal) -> BatchSource:
    """What gives the batches of a training; of a set that is held, nothing is fetched any more."""
    data, manifest = setup.config.data, setup.data.manifest
    if held is None:
        return Loader(manifest, ranks.device, data.threads, data.prefetch, stop)
    manifest = replace(manifest, tars=None)
    if held.samples.device.type == "cuda":
        return DeviceLoader(manifest, held)
    return memory_loader(manifest, held, ranks.device, data.threads, stop)


def _used(data: Data) -> np.ndarray:
    """The clips that a training and its evaluations read; known faults too, which scorers may learn from."""
    of_splits = (data.splits.train, data.splits.validation, data.splits.test, data.manifest.known_faults)
    return np.concatenate([*of_splits, *(stream.clips for stream in data.plan.streams)])


def _agreed(places: list[Place]) -> Place:
    """Ranks of unlike GPUs may find unlike room: all take what suits all."""
    return min(places, key=["off", "host", "device"].index)


def _loaded(setup: Setup, layout: Layout, ranks: Ranks, stop: StopSignal) -> Held:
    """The samples in memory that all ranks of this node map; each of them reads its share."""
    nodes = ranks.gather_objects((socket.gethostname(), os.environ.get("GROUP_RANK")))
    peers = [rank for rank, node in enumerate(nodes) if node == nodes[ranks.rank]]
    own = shared.create(layout.bytes) if ranks.rank == peers[0] else None
    path = ranks.gather_objects(own)[peers[0]]
    memory = ranks.run_on_all(lambda: shared.mapped(path, layout.bytes))
    if own is not None:
        shared.close(own)
    part = peers.index(ranks.rank)
    found = ranks.run_on_all(lambda: _load(setup, layout, memory, part, len(peers), ranks.is_main, stop))
    if ranks.any(stop.name is not None)[0]:
        raise StoppedError("loading was stopped")
    if setup.data.manifest.tars is not None:
        setup.data.manifest.tars.close()
    problems = {clip: why for of_rank in ranks.gather_objects(found) for clip, why in of_rank.items()}
    return Held(layout, torch.from_numpy(memory), problems)


def _load(
    setup: Setup, layout: Layout, memory: np.ndarray, part: int, parts: int, shown: bool, stop: StopSignal
) -> dict[int, str]:
    """Read this rank's share, under a bar; what could not be read, and why."""
    columns = (TextColumn("loading clips"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    console, problems = open_console(stderr=True), dict[int, str]()
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as progress:
        task = progress.add_task("", total=layout.bytes)
        for size, bad in load(setup.data.manifest, layout, memory, setup.config.data.threads, part, parts):
            problems |= bad
            progress.update(task, advance=size * parts)
            if stop.name is not None:
                break
    return problems
