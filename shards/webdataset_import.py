"""Imports webdataset without torch."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import threading
from types import ModuleType

_importing = threading.Lock()


def import_webdataset() -> ModuleType:
    """The webdataset library with its writer.

    It imports torch only to be usable as a torch data set, and does well without it. Our own processes, which pack and
    end, tell it that there is none: 0.13 s of CPU time a process instead of 1.1 (Intel Xeon, torch 2.13, 30 November
    2026).
    """
    with _importing:  # no thread may look for torch meanwhile
        if "webdataset.writer" not in sys.modules:
            _import()
        return sys.modules["webdataset"]


def _import() -> None:
    lean = _is_our_process() and "torch" not in sys.modules
    if lean:
        sys.modules["torch"] = None  # type: ignore[assignment]  # import torch raises ModuleNotFoundError
    try:
        importlib.import_module("webdataset.writer")
    finally:
        if lean:
            del sys.modules["torch"]


def _is_our_process() -> bool:
    """A worker process, or one that was started as `python -m shards.…`: not a program that uses this as a library."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return multiprocessing.parent_process() is not None or (spec is not None and spec.name.startswith("shards."))
