"""The set, network, versions and machine that a run belongs to."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from asd.errors import UserError

PACKAGES = ("torch", "torchaudio", "accelerate", "webdataset", "numpy", "scikit-learn", "soundfile")

WORDS = {"fingerprint": "fingerprint of its packed set"}


def check_identity(path: Path, identity: dict[str, Any]) -> None:
    """Compare a run's run.json (or a checkpoint's meta.json) with what is about to continue it."""
    try:
        former = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"{path} is damaged: restore it, or choose another run.dir") from None
    for name, value in identity.items():
        if former.get(name) != value:
            raise UserError(
                f"{path.parent} belongs to a run with another {WORDS.get(name, name)} "
                f"({_short(former.get(name))}, now {_short(value)}): "
                "choose another run.dir"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else text[:12] + "…"


def provenance() -> dict[str, Any]:
    """Versions and commit that a run's numbers came from."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    if revision := os.environ.get("ASD_REVISION"):  # an image knows its own; it holds no .git
        return revision
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=here,
            capture_output=True,
            encoding="utf-8",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
