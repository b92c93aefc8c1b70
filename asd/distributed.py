"""Ranks: which device each works on, how they start and stop, and what they tell each other."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from asd.errors import UserError, describe_os_error

T = TypeVar("T")
LOST_BY_GLOO = re.compile(r"(Gloo \w+ failed with )?\[\S*gloo/transport/\S+:\d+\] ")
LOST_BY_NCCL = re.compile(
    r"ncclRemoteError|timed? ?out|abort|connection (closed|refused|reset)|closed by", re.IGNORECASE
)
Precision = Literal["auto", "bf16", "fp16", "fp32"]
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
DRIVER_FOLDER = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Ranks:
    """This process among all that train together."""

    accelerator: Accelerator
    rank: int
    world_size: int
    device: torch.device
    precision: Literal["bf16", "fp16", "fp32"]

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        return self.accelerator.autocast()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Model in DDP and autocast."""
        with warnings.catch_warnings():  # newer torch renames broadcast_buffers; older knows no other name
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
            return self.accelerator.prepare(model)

    def agree(self, work: Callable[[], T]) -> T:
        """Do work on every rank; where it fails on any, all raise the first rank's words together."""
        attempt = _attempt(work)
        problems = [p for p in self.gather_objects(attempt.problem) if p is not None]
        if problems:
            raise UserError(problems[0])
        return attempt.result

    def on_main(self, work: Callable[[], T]) -> T:
        """Do work on rank 0 alone and give its result to all; its failure is everybody's."""
        attempt: _Attempt = self.gather_objects(_attempt(work) if self.is_main else None)[0]
        if attempt.problem is not None:
            raise UserError(attempt.problem)
        return attempt.result

    def gather_objects(self, value: Any) -> list[Any]:
        """The value of every rank, in rank order, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def gather_rows(self, rows: Tensor) -> Tensor | None:
        """Rows (n, …) of all ranks, n differing, as one CPU tensor on rank 0; None elsewhere."""
        rows = rows.cpu()
        counts = self.gather_objects(len(rows))
        if self.world_size == 1:
            return rows
        padded = torch.zeros(max(counts), *rows.shape[1:], dtype=rows.dtype)
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts] if self.is_main else None
        dist.gather(padded, parts)
        if parts is None:
            return None
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def mean(self, values: Tensor) -> Tensor:
        """Element-wise mean over ranks; the values themselves are overwritten."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values / self.world_size


@dataclass(frozen=True)
class _Attempt:
    """What came of work: its result, or one line on why there is none."""

    result: Any
    problem: str | None


def _attempt(work: Callable[[], object]) -> _Attempt:
    try:
        return _Attempt(work(), None)
    except UserError as error:
        return _Attempt(None, str(error))
    except OSError as error:
        return _Attempt(None, describe_os_error(error))


@contextmanager
def start_ranks(precision: Precision, timeout_s: float) -> Iterator[Ranks]:
    """Join the process group that torchrun describes (or be the only rank), on GPUs where there are any, else CPU."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = choose_device(int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    chosen = choose_precision(precision, device)
    if device.type == "cpu" and chosen == "bf16":
        _avoid_amx()
    if device.type == "cpu":
        _keep_freed_memory()
    if world_size > 1:
        _join("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", rank, world_size, timedelta(seconds=timeout_s))
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no" if chosen == "fp32" else chosen,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
    )
    _set_threads(device)  # accelerate changes torch's thread count silently
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


def gather(rows: Tensor) -> Tensor:
    """Rows (n, …) of all ranks, equally many of each, in rank order, on every rank; without gradient."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def gather_with_gradient(rows: Tensor) -> Tensor:
    """The same with gradient: a loss that every rank computes on all rows teaches each rank by its own ones.

    Each rank receives the sum of all ranks' gradients, of which DDP takes the mean: that of one loss.
    """
    return rows if not dist.is_initialized() or dist.get_world_size() == 1 else _GatherWithGradient.apply(rows)


class _GatherWithGradient(torch.autograd.Function):
    """torch's own (torch.distributed.nn.functional.all_gather) is on its way out and says so on every rank."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return gather(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].float().contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()].to(grads[0].dtype)


def is_lost_peer(error: RuntimeError) -> bool:
    """Whether a collective failed because another rank went away, or could not be reached in time.

    gloo raises a plain RuntimeError that begins with the place in its transport; a failed assertion of gloo's, or
    NCCL's own trouble on this node, keeps its traceback.
    """
    if isinstance(error, dist.DistBackendError):
        return LOST_BY_NCCL.search(str(error)) is not None
    return isinstance(error, dist.DistNetworkError | dist.DistStoreError) or LOST_BY_GLOO.match(str(error)) is not None


def choose_device(local_rank: int, local_ranks: int) -> torch.device:
    """This rank's GPU, or the CPU where the machine has no GPU."""
    visible = torch.cuda.device_count()
    asked = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    present = len(list(DRIVER_FOLDER.glob("*"))) if DRIVER_FOLDER.is_dir() else visible
    if asked not in ("", "-1") and (wanted := len(asked.split(","))) > visible:  # both hide all devices
        if present:
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={asked} names {wanted} devices, {visible} of them usable, on a machine with "
                f"{present}: name devices that exist (0 to {present - 1})",
                every_rank=local_rank != 0,  # another node's fault, too, is told by the first rank there
            )
        if local_rank == 0:
            print(
                f"warning: CUDA_VISIBLE_DEVICES={asked}, but no GPU is here: using the CPU", file=sys.stderr, flush=True
            )
    if visible == 0:
        return torch.device("cpu")
    if local_ranks > visible:
        raise UserError(
            f"{local_ranks} ranks on this node but {visible} GPUs: lower --nproc_per_node or show more GPUs",
            every_rank=local_rank != 0,
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def choose_precision(precision: Precision, device: torch.device) -> Literal["bf16", "fp16", "fp32"]:
    """auto: bf16 on GPUs that compute in it, fp16 on others, fp32 on CPUs (where small networks gain nothing else)."""
    if precision == "fp16" and device.type == "cpu":
        raise UserError("train.precision=fp16 needs a GPU: choose bf16, fp32 or auto")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "fp32"


def _avoid_amx() -> None:
    """Keep oneDNN from AMX tiles: with them the bf16 convolution of torch 2.13 (3x3, stride 2, 64 channels or more)
    reads memory that nobody wrote where a map is two columns wide or less. Counts until the first convolution."""
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")


def _keep_freed_memory() -> None:
    """Keep glibc from handing every large tensor back to the kernel as soon as it is freed.

    Without this each activation is mapped, faulted in page by page and zeroed anew at every step: half the time of a
    step in fp32 on two cores of a virtual machine. GPU runs have torch's own caching allocator for that.
    """
    if platform.libc_ver()[0] == "glibc":
        set_option = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 64 << 20)):
            set_option(option, value)


def _set_threads(device: torch.device) -> None:
    """Share the cores that this process may use among the ranks of the node."""
    cores = len(os.sched_getaffinity(0))
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    torch.set_num_threads(max(1, cores // local_ranks))
