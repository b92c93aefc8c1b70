"""Which failure of a collective operation is another rank's, and needs no traceback."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from asd.distributed.collectives import is_peer_failure

SOURCE = "/pytorch/third_party/gloo/gloo"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"[{SOURCE}/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:21315"),
        RuntimeError(f"[{SOURCE}/transport/tcp/pair.cc:538] Read error [127.0.0.1]:1: Connection reset by peer"),
        RuntimeError(f"[{SOURCE}/transport/tcp/unbound_buffer.cc:81] Timed out waiting 15000ms for recv operation"),
        RuntimeError(f"Gloo connectFullMesh failed with [{SOURCE}/transport/tcp/pair.cc:144] no error"),
        dist.DistNetworkError("failed to recv, got 0 bytes"),
        dist.DistStoreError("wait timeout after 60000ms, keys: /asd/start"),
        dist.DistBackendError("NCCL error: remote process exited or there was a network error, ncclRemoteError"),
        dist.DistBackendError("NCCL communicator was aborted on rank 0."),
    ],
)
def test_a_lost_peer(error: RuntimeError) -> None:
    assert is_peer_failure(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("my igloo is cold"),
        RuntimeError(f"no clip of fan/00 (as after [{SOURCE}/transport/tcp/pair.cc:547] Connection closed by peer)"),
        RuntimeError("ProcessGroupGloo::allreduce: invalid tensor type"),
        RuntimeError(f"[enforce fail at {SOURCE}/transport/tcp/device.cc:83] rv == 0. Unable to resolve hostname"),
        RuntimeError(f"[enforce fail at {SOURCE}/allreduce.cc:12] 1 == 2"),
        dist.DistBackendError("NCCL error: ncclInvalidUsage: Duplicate GPU detected : rank 0 and rank 1"),
        dist.DistBackendError("NCCL error: ncclUnhandledCudaError: out of memory"),
    ],
)
def test_a_failure_of_this_rank(error: RuntimeError) -> None:
    assert not is_peer_failure(error)
