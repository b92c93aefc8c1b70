"""What part start_up runs in processes of their own, by `python -c`: the real command, and the opening of a set."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from asd.process.startup import quick_imports
from benchmarks.speed.measure import memory_mib

IMPORTED = "all is imported"


def train() -> None:
    """`train_ddp.py`, with a word between its imports and its work."""
    with quick_imports():  # what it imports, in that order
        import torch._dynamo  # noqa: F401

        import asd.commands.train
        import asd.config.load
        import asd.distributed.start  # noqa: F401
        import train_ddp
    print(IMPORTED, flush=True)
    sys.exit(train_ddp.main(sys.argv[1:]))


def open_set() -> None:
    """Print, as json, the seconds that it takes, and the MiB that it takes at most."""
    from asd.data.manifest import load_manifest

    before, begin = memory_mib()["now"], time.perf_counter()
    load_manifest(Path(sys.argv[1]))
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "peak_mib": memory_mib()["peak"] - before}))


def torch_alone() -> None:
    """Print the MiB of a process that has only imported torch and used it once."""
    import torch._dynamo

    torch.nn.Conv1d(8, 8, 3)(torch.zeros(1, 8, 1000)).sum().backward()
    print(memory_mib()["now"])
