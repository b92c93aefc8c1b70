"""The real `train_ddp.py` with a clock at the ends of its stages, stopped after a few steps.

Part start_up runs it as it is, or by torchrun. Every rank leaves `rank<N>.json` in the folder that SPEED_PROBE names:
the seconds of each stage, and the memory of the process while it trains.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from asd.quick_imports import quick_imports

IMPORTS = {
    "import torch": ("torch",),
    "import torch._dynamo": ("torch._dynamo",),
    "other imports": ("train_ddp", "asd.training", "asd.config", "asd.distributed"),
}
FOLDER, STEPS = "SPEED_PROBE", "SPEED_PROBE_STEPS"  # environment: where to write, steps after the first


class Clock:
    """Seconds by stage; the time of a stage within another is not the outer one's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []  # seconds of inner stages, for each open one

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._within.append(0.0)
        begin = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begin
            self.seconds[name] = self.seconds.get(name, 0.0) + took - self._within.pop()
            if self._within:
                self._within[-1] += took

    def watch(self, name: str, owner: Any, *functions: str) -> None:
        """From now on the calls of these functions of a module or class are a stage."""
        for function in functions:
            setattr(owner, function, self._timed(name, getattr(owner, function)))

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return timed


def age_s() -> float:
    """Seconds since this process was started (to 10 ms)."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def memory_mib() -> dict[str, float]:
    """Resident memory of this process now, and the most it ever was."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {"now": int(fields["VmRSS"].split()[0]) / 1024, "peak": int(fields["VmHWM"].split()[0]) / 1024}


def main() -> None:
    clock = Clock()
    clock.seconds["interpreter"] = age_s()
    with quick_imports():  # what train_ddp.py imports, in that order
        for stage, names in IMPORTS.items():
            with clock.stage(stage):
                for name in names:
                    import_module(name)
    imported_s = age_s()
    _watch_stages(clock)
    _stop_after_steps(clock, imported_s)
    import train_ddp

    train_ddp.main(sys.argv[1:])


def _watch_stages(clock: Clock) -> None:
    import asd.config
    import asd.distributed
    import asd.system
    from asd import training

    clock.watch("config", asd.config, "load_config")
    clock.watch("manifest", asd.system, "load_manifest")
    clock.watch("first and last member of each tar", asd.system, "open_shards")
    clock.watch("splits", asd.system, "make_splits")
    clock.watch("streams and plan", asd.system, "make_streams", "make_plan")
    clock.watch("network", training, "build_task", "build_optimizer", "Trainer")
    clock.watch("run folder and loggers", training, "_open_run", "_claim", "provenance", "_introduce", "_open_loggers")
    start_ranks: Callable[..., AbstractContextManager[Any]] = asd.distributed.start_ranks

    @contextmanager
    def watched(*args: Any) -> Iterator[Any]:
        with clock.stage("ranks"):
            started = start_ranks(*args)
            ranks = started.__enter__()
        yield ranks

    asd.distributed.start_ranks = watched  # type: ignore[assignment]


def _stop_after_steps(clock: Clock, imported_s: float) -> None:
    """Report after the first step and some more, and leave at once: nothing is saved or evaluated."""
    from asd.trainer import Trainer

    found: dict[str, Any] = {}
    left = int(os.environ[STEPS])
    clock.watch("first step", Trainer, "_step")
    step = Trainer._step
    batches = Trainer._batches

    def counted(trainer: Trainer, batch: Any) -> None:
        nonlocal left
        step(trainer, batch)
        if not found:
            found.update(total_s=age_s(), first_step_at=time.clock_gettime(time.CLOCK_BOOTTIME))
            found.update(imported_s=imported_s, stages=dict(clock.seconds))
        if left == 0:
            _leave(trainer.ranks.rank, found)
        left -= 1

    Trainer._step = counted  # type: ignore[assignment, method-assign]
    Trainer._batches = lambda trainer: _timed_batches(clock, batches(trainer))  # type: ignore[assignment, method-assign]


def _timed_batches(clock: Clock, batches: Iterator[Any]) -> Iterator[Any]:
    while True:
        with clock.stage("first batch"):
            batch = next(batches)
        yield batch


def _leave(rank: int, found: dict[str, Any]) -> None:
    path = Path(os.environ[FOLDER]) / f"rank{rank}.json"
    path.write_text(json.dumps({**found, "memory_mib": memory_mib()}), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
