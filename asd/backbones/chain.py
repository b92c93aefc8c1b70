"""Networks as chains of modules, of which the first ones can be kept as they are."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def before_last(kind: type[nn.Module], chain: Iterable[nn.Module]) -> list[nn.Module]:
    """The modules of a chain that come before the last one of a kind."""
    modules = list(chain)
    return modules[: max(index for index, module in enumerate(modules) if isinstance(module, kind))]
