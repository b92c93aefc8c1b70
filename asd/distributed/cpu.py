"""Settings of the host's processor, memory and threads, each with the measurement that justifies it.

Figures are CPU time without by CPU time with it, in turns in one run: one thread of a virtual machine with two cores of
an Intel Xeon, torch 2.13, 30 November 2026.
Imports without garbage collection are in `asd.process.startup`: they come before torch, which this file needs.
"""

from __future__ import annotations

import ctypes
import os
import platform

import torch
from torch import nn

from asd.distributed.prelu import VectorPReLU

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> None:
    """Keep glibc from handing every large tensor back to the kernel as soon as it is freed.

    Without this each activation is mapped, faulted in page by page and zeroed anew at every step. A step of
    mobilenet_v2 on 32 clips in fp32: 1.18 and 1.25; on 8 clips in bf16: 1.06 to 1.08; of the demo: 1.00. GPU runs have
    torch's own caching allocator for that.
    """
    if platform.libc_ver()[0] == "glibc":
        set_option = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 64 << 20)):
            set_option(option, value)


def return_freed_memory() -> None:
    """Hand what has been kept back to the kernel, once no more steps follow."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def use_vector_prelu(model: nn.Module) -> None:
    """Give every nn.PReLU of a model the backward pass of `asd.distributed.prelu`.

    A step of pfu_mobilefacenet_512 on 4 clips: 1.15 in fp32 and in bf16; of dcase2020_integrated: 1.01.
    """
    for module in model.modules():
        if type(module) is nn.PReLU:
            module.__class__ = VectorPReLU


def set_threads() -> None:
    """Share the cores that this process may use among the ranks of the node."""
    cores = len(os.sched_getaffinity(0))
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    torch.set_num_threads(max(1, cores // local_ranks))
