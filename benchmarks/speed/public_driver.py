"""Runs the public Noisy-ArcMix code from outside and times its own training loop; started in a process of its own.

python benchmarks/speed/public_driver.py --checkout FOLDER --recordings FOLDER --batch 32 --steps 6 --out found.json

What is timed is the checkout's: its data set, its loader, its trainer's loop. This script stands in for its `train.py`,
which knows one device and one folder, and gives it a `torchaudio.load` by soundfile: torchaudio's own needs torchcodec,
which is slower. It imports nothing of asd, so that the start-up is the checkout's alone.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MACHINE_TYPES = ["fan", "pump", "slider", "ToyCar", "ToyConveyor", "valve"]  # in its order, which numbers the classes


class EnoughSteps(Exception):  # noqa: N818 - nothing went wrong
    """Ends the trainer's loop, which knows whole epochs alone."""


class TimedLoader:
    """A loader, round after round, for so many steps; notes when each batch is asked for, and the end of the last step.

    The trainer reads the loss of every step, so that a step has ended, on a GPU too, when it asks for the next batch.
    """

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader, self.steps = loader, steps
        self.asked: list[float] = []  # seconds of the system's monotonic clock, one more than steps
        self.clips: list[int] = []  # of each step

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        self.asked.append(time.monotonic())
        for batch in itertools.islice(itertools.chain.from_iterable(itertools.repeat(self.loader)), self.steps):
            self.clips.append(len(batch[-1]))
            yield batch
            self.asked.append(time.monotonic())
        raise EnoughSteps


def main() -> None:
    args = parse()
    work_in(args.work, args.recordings, args.checkout)
    use_soundfile()
    found = train(args)
    Path("found.json").write_text(json.dumps(found), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True, help="of the public code")
    parser.add_argument("--recordings", type=Path, required=True, help="folder in DCASE 2020 layout")
    parser.add_argument("--work", type=Path, required=True, help="where found.json and first.pt are written")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", required=True)
    return parser.parse_args()


def work_in(work: Path, recordings: Path, checkout: Path) -> None:
    """The checkout reads ./datasets and is imported by its modules' plain names."""
    sys.path.insert(0, str(checkout.resolve()))
    recordings = recordings.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    Path("datasets").unlink(missing_ok=True)
    Path("datasets").symlink_to(recordings)


def use_soundfile() -> None:
    import soundfile
    import torch
    import torchaudio

    def load(file_name: str) -> tuple[torch.Tensor, int]:
        samples, rate = soundfile.read(file_name, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T), rate

    torchaudio.load = load


def train(args: argparse.Namespace) -> dict[str, Any]:
    """What its train.py does, on a device of our choice and for so many steps; seconds, clips, bytes."""
    import torch
    import yaml
    from dataloader import train_dataset
    from torch.utils.data import DataLoader
    from train import random_seed
    from trainer import Trainer
    from utils import dataset_split

    random_seed(seed=2023)
    torch.set_num_threads(args.threads)
    config = yaml.safe_load((Path(sys.path[0]) / "config.yaml").read_text(encoding="utf-8"))
    before_bytes, before = peak_bytes(), time.monotonic()
    clips = train_dataset("./datasets", MACHINE_TYPES)
    after_bytes, after = peak_bytes(), time.monotonic()
    own, held_out = dataset_split(clips, split_ratio=config["split_ratio"])
    trainer = Trainer(
        device=torch.device(args.device),
        alpha=config["alpha"],
        mode=config["mode"],
        epochs=config["epoch"],
        class_num=config["num_classes"],
        m=config["m"],
        lr=float(config["lr"]),
    )
    loader = TimedLoader(DataLoader(own, batch_size=args.batch, shuffle=True), args.steps)
    with contextlib.suppress(EnoughSteps):
        trainer.train(loader, DataLoader(held_out, batch_size=args.batch), config["save_path"])
    keep_a_loss(trainer, clips, args.batch)
    return {
        "decode_s": after - before,
        "decoded_bytes": after_bytes - before_bytes,
        "clips": len(clips),
        "asked": loader.asked,
        "step_clips": loader.clips,
        "parameters": sum(p.numel() for p in trainer.net.parameters()),
        "unused_parameters": sum(p.numel() for p in trainer.net.mobilefacenet.fc_out.parameters()),
        "mode": config["mode"],
    }


def keep_a_loss(trainer: Any, clips: Any, count: int) -> None:
    """first.pt: weights, some clips (as it decoded them) and its loss of these in training mode, not mixed."""
    import torch

    picked = range(0, len(clips), max(1, len(clips) // count))[:count]
    waveform, mel, label = (torch.stack(column) for column in zip(*(clips[i] for i in picked), strict=True))
    weights = {name: tensor.cpu().clone() for name, tensor in trainer.net.state_dict().items()}
    trainer.net.train()
    with torch.no_grad():
        logits, _ = trainer.net(*(x.to(trainer.device) for x in (waveform, mel, label)))
        loss = trainer.criterion(logits, label.to(trainer.device)).item()
    torch.save({"weights": weights, "waveform": waveform, "label": label, "loss": loss}, "first.pt")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
