"""Starting ranks and connecting them."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from asd.distributed.cpu import keep_freed_memory, set_threads
from asd.distributed.device import Precision, choose_device, choose_precision
from asd.distributed.ranks import Ranks
from asd.errors import UserError


@contextmanager
def start_ranks(precision: Precision, timeout_s: float) -> Iterator[Ranks]:
    """Join the process group that torchrun describes (or be the only rank), on GPUs where there are any, else CPU."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = choose_device(int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    chosen = choose_precision(precision, device)
    if device.type == "cpu":
        keep_freed_memory()
    if world_size > 1:
        _join("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", rank, world_size, timedelta(seconds=timeout_s))
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no" if chosen == "fp32" else chosen,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
    )
    set_threads()  # accelerate changes torch's thread count silently
    failed = False
    try:
        yield Ranks(accelerator, rank, world_size, device, chosen)
    except BaseException as error:
        failed = True
        # The frames hold the DDP module and so the process group. If that were freed with the exception, under the
        # interpreter lock, it would wait for ever for its threads, which may need the lock to end (seen with gloo).
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        if dist.is_initialized() and not (failed and device.type == "cuda"):  # NCCL would wait for the other ranks
            dist.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)  # so that a process can start ranks again


def _join(backend: str, rank: int, world_size: int, timeout: timedelta) -> None:
    """Start the process group, under torchrun in a corner of its store that belongs to this start alone.

    torchrun keeps one store for all restarts of a job, in which ranks that come back find the addresses of dead ones
    (pytorch/pytorch#135712). Rank 0 therefore opens a port and leaves its number there: while that port answers, it is
    the number of this start.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(backend, timeout=timeout)
        return
    host, key = os.environ["MASTER_ADDR"], "asd/start"
    store = dist.TCPStore(host, int(os.environ["MASTER_PORT"]), is_master=False, timeout=timeout)
    if rank == 0:
        alive = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)  # until all have joined
        port = alive.port
        store.set(key, str(port))
    else:
        end = time.monotonic() + timeout.total_seconds()
        while not _answers(host, port := int(store.get(key))):
            if time.monotonic() > end:
                raise UserError(
                    f"rank 0 does not answer at {host}:{port}: let the ranks reach each other's ports", False
                )
            time.sleep(0.1)
    corner = dist.PrefixStore(f"{key}/{port}", store)
    dist.init_process_group(backend, store=corner, rank=rank, world_size=world_size, timeout=timeout)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=10):
            return True
    except OSError:
        return False
