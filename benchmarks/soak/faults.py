"""All faults, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.soak import damage, remote, stops, storage
from benchmarks.soak.round import Round

FAULTS: dict[str, Callable[[Round], None]] = {
    fault.__name__: fault for module in (stops, storage, damage, remote) for fault in module.FAULTS
}


def what(name: str) -> str:
    """A fault in words."""
    return (FAULTS[name].__doc__ or name).splitlines()[0]
