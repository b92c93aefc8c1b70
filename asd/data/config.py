"""Settings of the training data and of reading it."""

from __future__ import annotations

import numpy as np
import pydantic

from asd.data.manifest import Manifest
from asd.data.proxy import Classes
from asd.data.pseudo_labels import PseudoLabelsConfig
from asd.data.resident.place import Resident
from asd.data.streams import StreamsConfig
from asd.files.paths import PathText

AT_ONCE = 64  # steps whose crops are drawn by one call: this runs in the training thread


class DataConfig(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Where the clips come from and how they are cut and read."""

    shards: PathText = "data/dcase2020"  # a folder, or where to fetch it: https://…, s3://…, any URL of fsspec
    cache_dir: str = "~/.cache/asd"  # where shards from elsewhere are kept on each node
    cache_gib: pydantic.PositiveFloat | None = None  # that they may take: least recently used ones make room
    machine_types: tuple[str, ...] = ()  # train on these alone; empty: on all
    machine_ids: tuple[str, ...] = ()  # (sections) of these types alone; empty: on all
    # that a classifier tells apart: machine types and IDs, which are scored, or each of these by domain and attributes
    classes: Classes = "machine"
    # clusters of clips that divide each machine and domain (classes=attributes: those whose clips all name the same
    # attributes, or none) into classes; null: none
    pseudo_labels: PseudoLabelsConfig | None = None
    streams: StreamsConfig = StreamsConfig()  # what a batch is made of
    crop_s: float = pydantic.Field(10.0, ge=0.05, le=600)  # training crop; evaluation takes whole clips
    first_s: float | None = pydantic.Field(default=None, le=600)  # of clips, that crops lie in; None: anywhere
    run_length: pydantic.PositiveInt = 8  # consecutive clips read by one call; 1 = full permutation
    window: pydantic.PositiveInt | None = None  # clips, of whole shards, that are shuffled among each other; None: all
    # of the training recordings, held out to choose a checkpoint by
    val_fraction: float = pydantic.Field(0.05, ge=0, lt=1)
    threads: pydantic.PositiveInt = 2  # that read, on each rank
    # the clips of a training in memory, loaded at its start: once a node (host), on every GPU (device), or where they
    # take at most half of what is free there (auto: device, else host, else off)
    resident: Resident = "off"
    prefetch: pydantic.PositiveInt = 4  # batches read ahead, of tars; of a set in memory 8, fewer of more than 32 MiB

    @pydantic.model_validator(mode="after")
    def _crops_fit(self) -> DataConfig:
        if self.first_s is not None and self.first_s < self.crop_s:
            raise ValueError(f"first_s={self.first_s:g} must be at least crop_s={self.crop_s:g}")
        return self


def crop_advice(manifest: Manifest, clips: np.ndarray, crop_s: float) -> str | None:
    """What training makes of clips of other lengths than its crop; None where all have that length."""
    seconds = manifest.frames[clips] / manifest.sample_rate
    short, long = (int(np.count_nonzero(other)) for other in (seconds < crop_s, seconds > crop_s))
    parts = [f"{short} of {len(clips)} training clips are shorter and are repeated to fill it"] if short else []
    parts += (
        [f"of {long} longer ones a part is drawn anew each epoch"] if long and (short or len(set(seconds)) > 1) else []
    )
    if not parts:
        return None
    return f"data.crop_s={crop_s:g} for clips of {seconds.min():.3f} to {seconds.max():.3f} s: {'; '.join(parts)}"
