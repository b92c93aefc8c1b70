"""What makes a config of configs/ small enough for a test: narrow networks, short clips, two steps."""

from __future__ import annotations

from pathlib import Path

from asd.backbones import BeatsConfig
from asd.config.load import load_config
from asd.config.run import RunConfig
from tests.support.encoders import beats_file

CONFIGS = {path.stem: path for path in sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))}
NARROW = {
    "resnet50": ["backbone.width=4", "backbone.depths=[1, 1, 1, 1]"],
    "resnet50_ir": ["backbone.width=4", "backbone.depths=[1, 1, 1, 1]", "backbone.embedding=32"],
    "mobilefacenet": ["backbone.width=0.125", "backbone.embedding=32"],
    "cp_resnet": ["backbone.width=4"],
    "mobilenet_v2": ["backbone.width=0.125", "backbone.last=32"],
    "efficientnet_b0": ["backbone.width=0.125"],
    "statistics": [],
    "beats": [],
    "multi_branch": ["backbone.width=8", "backbone.n_fft=[512]"],
    "autoencoder": ["task.network.hidden=[16, 16]"],
    "wavenet": ["task.network.channels=8", "task.network.dilations=[1, 2]"],
    "wavenet_mu_law": ["task.network.channels=4", "task.network.skip=4", "task.network.dilations=[1, 2]"],
}
SHORT = ["train.epochs=null", "train.steps=2", "train.log_every=1"]
FRAMES = 8  # of a window, where a config's would be longer than the clips


def words_of(name: str, small_set: Path, domain_set: Path) -> list[str]:
    """Overrides of a config, on the set that it suits."""
    config = load_config(CONFIGS[name])
    with_domains = config.data.shards.startswith("data/dcase") and config.data.shards != "data/dcase2020"
    words = [*narrow(config), f"data.shards={domain_set if with_domains else small_set}"]
    if isinstance(config.backbone, BeatsConfig):  # as many blocks as the published one, and everything else small
        words += [f"backbone.weights={beats_file(small_set.parent, encoder_layers=12)}", "evaluate.cache_dir=null"]
    return words


def narrow(config: RunConfig) -> list[str]:
    """Overrides that make the network narrow, the batch small and everything short."""
    network = config.backbone or config.task.network  # type: ignore[union-attr]
    words = ["distributed.precision=fp32", *(SHORT if config.task.trains else []), *NARROW[network.name]]
    crop = [] if config.evaluate.first_s else ["data.crop_s=0.5"]  # some networks take one clip length alone
    if network.name == "wavenet_mu_law":
        crop = ["data.crop_s=0.1", "evaluate.first_s=0.1"]  # it is slow: each sample is a prediction
    if getattr(network, "fft_samples", None) is not None:
        words, crop = [*words, "backbone.fft_samples=72000"], ["data.crop_s=4.5", "evaluate.first_s=4.5"]
    if config.windows is not None and config.windows.frames > FRAMES:
        words += [f"windows.frames={FRAMES}", f"windows.hop={FRAMES}"]
        words += [f"backbone.conv_frames={FRAMES}"] if getattr(network, "pool", "") == "conv" else []
    streams, batch = config.data.streams, 16
    if streams.outlier_rows:
        words += ["data.streams.outlier_rows=4"]
    if streams.target_rows:
        words += ["data.streams.target_rows=4"]
    if streams.fault_rows:
        words += ["data.streams.fault_rows=0"]  # the set has no known faults
    if config.data.machine_ids:
        words += ["data.machine_ids=['00', '01']"]
    return [*words, *crop, f"train.global_batch={batch}"]
