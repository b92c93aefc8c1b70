"""Run once after installing: make torchaudio's wheel importable beside a CPU build of torch.

Its compiled extension links the CUDA runtime, which a CPU build of torch does not bring; without the extension's files
torchaudio counts it as not available, and nothing used here needs it. With a CUDA build of torch nothing is touched.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch


def main() -> None:
    spec = importlib.util.find_spec("torchaudio")
    if torch.version.cuda is not None or spec is None or spec.origin is None:
        return
    for pattern in ("_torchaudio*.so", "libtorchaudio*.so"):
        for file in Path(spec.origin).parent.rglob(pattern):
            file.unlink()
            print(f"CPU build of torch: removed torchaudio's {file.name}")


if __name__ == "__main__":
    main()
