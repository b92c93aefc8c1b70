"""Opens a set in a process of its own and prints, as json: seconds, and MiB that it keeps and that it took at most."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from asd.data.manifest import load_manifest
from benchmarks.speed.start_up_probe import memory_mib


def main() -> None:
    before = memory_mib()["now"]
    begin = time.perf_counter()
    manifest = load_manifest(Path(sys.argv[1]))
    took = time.perf_counter() - begin
    after = memory_mib()
    found = {"seconds": took, "kept": after["now"] - before, "peak": after["peak"] - before, "clips": len(manifest)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
