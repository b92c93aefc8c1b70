"""The convolutions of networks, and whether this processor computes them rightly.

python -m tests.support.convolutions THREADS PRECISION

Reads convolutions from standard input, one a line as JSON, and answers each with its largest relative error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asd.backbones.bfloat16 import avoid_wrong_bfloat16

ROOT = Path(__file__).resolve().parents[2]
CLIPS, TIMES = 4, 3
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Convolution:
    """A layer, and the size of the maps that it sees."""

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    size: tuple[int, ...]

    @classmethod
    def of(cls, conv: nn.Conv1d | nn.Conv2d, maps: Tensor) -> Convolution:
        shape = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
        return cls(conv.in_channels, conv.out_channels, *shape, conv.groups, tuple(maps.shape[2:]))  # type: ignore[arg-type]

    def build(self) -> nn.Conv1d | nn.Conv2d:
        kind: Any = nn.Conv2d if len(self.kernel) == 2 else nn.Conv1d
        words = {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}
        return kind(self.inputs, self.outputs, self.kernel, **words)


def convolutions_of(network: nn.Module, maps: Tensor) -> set[Convolution]:
    """Every convolution of a network while it sees some maps; of both on the meta device this costs nothing."""
    found: set[Convolution] = set()
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):  # behind its other hooks, which may cut its maps
            module.register_forward_pre_hook(lambda conv, inputs: found.add(Convolution.of(conv, inputs[0])))
    network(maps)
    return found


def errors_of(convolution: Convolution, memory_format: str, precision: str) -> float:
    """The largest relative error of output and both gradients against torch without oneDNN, of the same values."""
    torch.manual_seed(0)
    flat = len(convolution.kernel) == 1
    layout = torch.contiguous_format if flat else FORMATS[memory_format]
    network = nn.Sequential(convolution.build().to(memory_format=layout))  # type: ignore[call-overload]
    avoid_wrong_bfloat16(network)
    worst, bf16 = 0.0, precision == "bf16"
    for values in network.parameters():
        values.data = _rounded(values.data, bf16)
    for _ in range(TIMES):
        maps = torch.randn(CLIPS, convolution.inputs, *convolution.size).contiguous(memory_format=layout)
        maps = _rounded(maps, bf16)
        right = _passes(network, maps, mkldnn=False, bf16=False, round_gradient=bf16)
        for ours, theirs in zip(_passes(network, maps, mkldnn=True, bf16=bf16), right, strict=True):
            error = float((ours - theirs).norm() / theirs.norm())
            worst = max(worst, error if error == error else torch.inf)
    return worst


def _rounded(values: Tensor, bf16: bool) -> Tensor:
    return values.bfloat16().float() if bf16 else values


def _passes(
    network: nn.Sequential, maps: Tensor, mkldnn: bool, bf16: bool, round_gradient: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient of the maps and gradient of the weights for one gradient of the output."""
    maps = maps.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    network.zero_grad()
    fill_freed_memory()
    with torch.backends.mkldnn.flags(enabled=mkldnn):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = network(maps)
        gradient = torch.linspace(-1, 1, out.numel()).view(out.shape).sin()
        out.float().backward(_rounded(gradient, round_gradient))
    assert maps.grad is not None
    return out.detach().float(), maps.grad, network[0].weight.grad.clone()  # type: ignore[operator, union-attr]


def fill_freed_memory() -> None:
    """With what makes an error visible, should a kernel read memory that nobody wrote."""
    junk = [torch.full((1 << size,), torch.nan) for size in range(8, 20)]
    del junk


Case = tuple[Convolution, str]  # and its memory format


def scan(cases: Sequence[Case], isa: str | None, threads: int, precision: str = "fp32") -> dict[Case, float]:
    """Largest relative error of each, in another process: infinite for those at which that process died.

    isa: the most that oneDNN may use, as on another processor; None: all that this one has.
    """
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore"}
    env |= {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
    found: dict[Case, float] = {}
    while left := [case for case in cases if case not in found]:
        lines = "".join(f"{json.dumps([asdict(convolution), layout])}\n" for convolution, layout in left)
        command = [sys.executable, "-m", "tests.support.convolutions", str(threads), precision]
        done = subprocess.run(command, cwd=ROOT, env=env, input=lines, capture_output=True, text=True, check=False)
        if done.returncode > 0:  # no signal: a mistake of the scan itself
            raise RuntimeError(done.stderr)
        errors = [float(line) for line in done.stdout.splitlines()]
        found |= dict(zip(left, errors, strict=False))
        if done.returncode:
            found[left[min(len(errors), len(left) - 1)]] = torch.inf
    return found


def _told(lines: Sequence[str]) -> Iterator[Case]:
    for line in lines:
        words, memory_format = json.loads(line)
        tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in words.items()}
        yield Convolution(**tuples), memory_format


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    for convolution, memory_format in _told(sys.stdin.readlines()):
        print(errors_of(convolution, memory_format, sys.argv[2]), flush=True)
