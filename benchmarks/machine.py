"""Where something was measured."""

from __future__ import annotations

import datetime
import os
import platform
import re
import sys
from pathlib import Path

import torch

from asd.run_folder.provenance import provenance


def machine() -> dict[str, str]:
    """Processor, cores, card, versions, source and day."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8")) if cpuinfo.is_file() else None
    return {
        "processor": found[1].strip() if found else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "kernel": platform.release().split("-")[0],
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": torch.__version__,
        "commit": (provenance()["git_commit"] or "unknown")[:10],
        "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def described(found: dict[str, str]) -> str:
    """One line of it."""
    card = "" if found["card"] == "none" else f", {found['card']}"
    return (
        f"{found['processor']}, {found['cores']} cores{card}; Linux {found['kernel']}, Python {found['python']}, "
        f"torch {found['torch']}; commit {found['commit']}, {found['day']}"
    )
