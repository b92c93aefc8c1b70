"""A trace of a few training steps by torch.profiler, for those who want to know what a step is made of."""

from __future__ import annotations

import logging
from pathlib import Path

import pydantic
import torch
from torch.profiler import ProfilerActivity, profile

log = logging.getLogger(__name__)

ROWS = 20  # operations of the table


class ProfileConfig(pydantic.BaseModel, extra="forbid", frozen=True):
    """Which steps of which ranks are traced."""

    start: pydantic.NonNegativeInt = 10  # the first steps allocate memory and choose kernels
    steps: int = pydantic.Field(default=5, gt=0, le=100)  # a trace has thousands of events a step
    ranks: tuple[pydantic.NonNegativeInt, ...] = (0,)


class StepProfile:
    """Traces the steps of a config on this rank and writes what it found into a folder; of a GPU, its memory too."""

    def __init__(self, config: ProfileConfig | None, rank: int, device: torch.device, folder: Path) -> None:
        self._config = config if config is not None and rank in config.ranks else None
        self._rank, self._on_gpu, self._folder = rank, device.type == "cuda", folder
        self._running: profile | None = None

    def before(self, step: int) -> None:
        """A step begins: `step` were done."""
        if self._config is None or step != self._config.start:
            return
        if self._on_gpu:
            torch.cuda.memory._record_memory_history()
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        self._running = profile(activities=kinds, profile_memory=True)
        self._running.start()

    def after(self, step: int) -> None:
        """A step has ended: `step` are done."""
        if self._config is None or self._running is None or step < self._config.start + self._config.steps:
            return
        running, self._running = self._running, None
        running.stop()
        try:
            self._write(running, f"rank_{self._rank}_from_step_{self._config.start}")
        except (OSError, RuntimeError) as error:  # training goes on
            log.warning(f"the profile of steps {self._config.start} to {step} cannot be written: {error}")

    def _write(self, found: profile, name: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        found.export_chrome_trace(str(self._folder / f"{name}.json.gz"))
        order = "self_device_time_total" if self._on_gpu else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=order, row_limit=ROWS)
        (self._folder / f"{name}.txt").write_text(table, encoding="utf-8")
        if self._on_gpu:
            torch.cuda.memory._dump_snapshot(str(self._folder / f"{name}_memory.pickle"))
            torch.cuda.memory._record_memory_history(enabled=None)
        log.info(f"profile: {self._folder / name}.txt; .json.gz opens in a browser at ui.perfetto.dev")
