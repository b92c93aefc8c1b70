"""Whether `eval.py listen` keeps up, and whether its memory grows: hours of synthetic sound as fast as it goes.

python -m benchmarks.live --detector detector.pt --hours 24 -- --machine fan --id 00 --window 10

The command runs on one core; a line an hour of sound: resident memory, processor time, and that relative to the sound.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import psutil

from asd.detector import read_detector
from asd.files.paths import user_path

PIECE_S, POOL_S, HOUR_S = 10, 607, 3600  # of sound: written at once, synthesised, reported


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=user_path, required=True)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("words", nargs="*", help="of eval.py listen, behind --")
    args = parser.parse_args(argv)
    rate = read_detector(args.detector).sample_rate
    command = [sys.executable, "eval.py", "listen", "--detector", args.detector, "--source", "-", "--replay"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [*map(str, command), "--alarms-only", *args.words]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as listener:
        assert listener.stdin is not None
        process, sound = psutil.Process(listener.pid), synthetic(rate)
        begin_s = 0.0
        for heard_s in range(0, args.hours * HOUR_S, PIECE_S):
            if heard_s % HOUR_S == 0:
                begin_s = _report(process, heard_s, begin_s)
            at = heard_s * rate % (len(sound) - PIECE_S * rate)  # another part of the pool each time round
            listener.stdin.write(sound[at : at + PIECE_S * rate].tobytes())
        _report(process, args.hours * HOUR_S, begin_s)
        listener.stdin.close()


def synthetic(rate: int) -> np.ndarray:
    """Noise and a hum that comes and goes, int16."""
    random, time = np.random.default_rng(0), np.arange(POOL_S * rate) / rate
    hum = 0.1 * np.sin(2 * np.pi * 200 * time) * (1 + 0.5 * np.sin(2 * np.pi * time / 60))
    found: np.ndarray = ((0.03 * random.standard_normal(len(time)) + hum) * 32767).astype("<i2")
    return found


def _report(process: psutil.Process, heard_s: int, before_s: float) -> float:
    """Processor seconds that the command has used; the first hour's hold its start as well."""
    used_s = sum(process.cpu_times()[:2])
    mib = process.memory_info().rss / 2**20
    share = (used_s - before_s) / HOUR_S if heard_s else 0.0
    print(
        f"{heard_s / HOUR_S:4.0f} h  {mib:7.1f} MiB  {used_s:8.1f} s of processor, {share:.5f} of the sound", flush=True
    )
    return used_s


if __name__ == "__main__":
    main()
