"""Run one of ASDKit's commands as it is, and say how long its training took.

python asdkit_driver.py asdkit.bin.train WORDS…   (in a checkout of it; `fit_s SECONDS` is the last line of a training)

torchaudio.load, which since torchaudio 2.9 asks for another package, reads by soundfile.
"""

import runpy
import sys
import time

import lightning.pytorch as pl
import soundfile
import torch
import torchaudio

FIT = "fit_s"


def load(path):
    """(channels, samples) float32, and the rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


def timed(fit):
    """fit, which says its seconds when it is done."""

    def fitted(*args, **kwargs):
        begin = time.perf_counter()
        fit(*args, **kwargs)
        print(f"\n{FIT} {time.perf_counter() - begin:.3f}", flush=True)

    return fitted


if __name__ == "__main__":
    torchaudio.load, pl.Trainer.fit = load, timed(pl.Trainer.fit)
    sys.path.insert(0, "")
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
