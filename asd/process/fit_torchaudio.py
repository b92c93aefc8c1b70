"""Run once after installing: make torchaudio's wheel importable beside whatever build of torch there is.

Its compiled extension links the CUDA runtime of one version, which other builds of torch, those for CPUs above all, do
not bring; without the extension's files torchaudio counts it as not available, and nothing used here needs it.
Where torchaudio can be imported nothing is touched.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path


def main() -> None:
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        return
    if subprocess.run([sys.executable, "-c", "import torchaudio"], capture_output=True, check=False).returncode == 0:
        return
    for pattern in ("_torchaudio*.so", "libtorchaudio*.so"):
        for file in Path(spec.origin).parent.rglob(pattern):
            file.unlink()
            print(f"another build of torch: removed torchaudio's {file.name}")


if __name__ == "__main__":
    main()
