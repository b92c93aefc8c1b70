"""The clusters that `data.pseudo_labels` divides machines by: found before a network is set up for them, and kept in
the run folder, where whatever goes on with the run, or scores it, reads them."""

from __future__ import annotations

import csv
import io
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from asd.commands.resume import check_settings, say
from asd.config.build import open_shards, with_weights
from asd.config.identity import RESUMING, differences
from asd.config.initialise import initialise_from
from asd.config.run import RunConfig
from asd.config.saved import saved_config
from asd.data.loader import Loader
from asd.data.manifest import Manifest
from asd.data.proxy import NO_CLUSTER, with_proxy_classes
from asd.data.pseudo_labels import Group, PseudoLabelsConfig, groups_to_cluster
from asd.data.splits import make_splits
from asd.distributed.ranks import Ranks
from asd.errors import UserError
from asd.evaluate.clusters import cluster_clips
from asd.evaluate.embed import embed_clips
from asd.files.atomic import write_whole
from asd.files.csv_table import read_table
from asd.process.stop import StopSignal
from asd.run_folder.paths import RunFolder
from asd.scorers import EmbeddingTable
from asd.tasks.base import Task
from asd.tasks.build import build_task, prepare
from asd.tasks.model import ModelConfig
from asd.tasks.system import System

STATISTICS = {"task": {"name": "untrained"}, "frontend": {"name": "log_mel"}, "backbone": {"name": "statistics"}}
STATISTICS_VIEW = "mean_std_level"


def find_clusters(
    config: RunConfig, folder: RunFolder, ranks: Ranks, stop: StopSignal | None = None
) -> np.ndarray | None:
    """The cluster of each clip of a config's set, (clips,) int32, on every rank: those of the run in the folder, else
    found by embedding training and held-out clips on all ranks; None where the config asks for none.

    Raises UserError where the run in the folder has other settings or its file is damaged; StoppedError on all ranks
    where a stop was asked for.
    """
    if (settings := config.data.pseudo_labels) is None:
        return None
    manifest = ranks.run_on_all(lambda: open_shards(config.data))
    saved: np.ndarray | None = ranks.run_on_main(lambda: saved_clusters(config, folder, manifest))
    if saved is not None:
        return saved
    groups, classes = _groups(config, manifest), config.data.classes
    say(ranks, f"clustering the clips of {len(groups)} machines and domains")
    found = _embed(config, settings, manifest, np.sort(np.concatenate([*groups.values()])), ranks, stop)
    held_out = make_splits(manifest, config.train.seed, config.data.val_fraction).validation

    def clusters() -> np.ndarray:
        assert found is not None
        told = cluster_clips(found, manifest, classes, held_out, settings)
        if len(with_proxy_classes(manifest, classes, told).taught) < 2:
            raise UserError(
                "data.pseudo_labels: all clips are one cluster, and a classifier learns by telling clusters apart: "
                "data.pseudo_labels.by=ward divides them in any case, configs/own_machines.yaml needs no classes"
            )
        return told

    return ranks.run_on_main(clusters)


def _embed(
    config: RunConfig,
    settings: PseudoLabelsConfig,
    manifest: Manifest,
    clips: np.ndarray,
    ranks: Ranks,
    stop: StopSignal | None,
) -> EmbeddingTable | None:
    """What is clustered of clips, on rank 0; None elsewhere."""
    task, first_s = ranks.run_on_all(lambda: _embedder(settings, manifest))
    rate, data = manifest.sample_rate, config.data
    with closing(Loader(manifest, ranks.device, data.threads, data.prefetch, stop)) as loader:
        found = embed_clips(
            task.to(ranks.device),
            loader,
            ranks,
            clips,
            int(config.evaluate.batch_audio_s * rate),
            None if first_s is None else round(first_s * rate),
            average="embeddings",
        )
    view = settings.view or (STATISTICS_VIEW if settings.run is None else None)
    return None if found is None else found.clips.only("embedding", view)


def _embedder(settings: PseudoLabelsConfig, manifest: Manifest) -> tuple[Task, float | None]:
    """The network that embeds, and how many seconds it takes of each clip, None: all of it."""
    if settings.run is None:
        system, borrowed, first_s = System.model_validate(STATISTICS), None, None
    else:
        former, borrowed = with_weights(_config_of(Path(settings.run)), manifest)
        parts = former.model_dump(include={"frontend", "windows", "backbone"})
        system, first_s = System.model_validate({**STATISTICS, **parts}), former.evaluate.first_s
    assert system.backbone is not None
    if settings.view is not None and settings.view not in (known := system.backbone.view_names()):
        raise UserError(
            f"data.pseudo_labels.view={settings.view} is no view of the embedding: it has {', '.join(known) or 'none'}"
        )
    task = build_task(system, 0, manifest.sample_rate, len(manifest.classes), borrowed=borrowed)
    if settings.run is not None and task.state_dict():  # else all of it came from the encoder's file
        initialise_from(task, settings.run, "best", [])
    return prepare(task, ModelConfig()), first_s


def _config_of(run: Path) -> RunConfig:
    folder = RunFolder(run)
    if not folder.config.is_file():
        raise UserError(f"data.pseudo_labels.run={run} is no run folder: it holds no config.yaml")
    former = saved_config(folder.config)
    if former.backbone is None:
        raise UserError(f"data.pseudo_labels.run={run}: task {former.task.name} gives no embeddings to cluster")
    return former


def saved_clusters(config: RunConfig, folder: RunFolder, manifest: Manifest) -> np.ndarray | None:
    """Those that the run in a folder was trained with, (clips,) int32; None where there is no such run or file.

    Raises UserError where that run has other settings, or its file is damaged or of another set.
    """
    path = folder.pseudo_labels
    if not _is_trained_in(folder, with_weights(config, manifest)[0]) or not path.exists():
        return None
    told = {row["key"]: (where, row["cluster"]) for where, row in read_table(path, ("key", "cluster"), others=True)}
    clusters = np.full(len(manifest), NO_CLUSTER, dtype=np.int32)
    for clips in groups_to_cluster(manifest, config.data.classes).values():
        for clip, key in zip(clips.tolist(), manifest.strings("key", clips), strict=True):
            if key not in told:
                raise UserError(f"{path} has no cluster of clip {key}: put it back, or remove it to have it made again")
            where, text = told[key]
            if not (text.isascii() and text.isdigit() and int(text) < len(manifest)):
                raise UserError(f"{where}: cluster is {text!r}: put the file back, or remove it to have it made again")
            clusters[clip] = int(text)
    return clusters


def _is_trained_in(folder: RunFolder, config: RunConfig) -> bool:
    """Whether a folder is that of a run with these settings, which may have no checkpoint yet."""
    if check_settings(folder, config) is not None:
        return True
    with suppress(UserError):  # of a start that left no checkpoint: whatever it is, nothing is lost
        return folder.config.is_file() and not differences(saved_config(folder.config), config, RESUMING)
    return False


def clusters_without_embedding(config: RunConfig, folder: RunFolder) -> tuple[np.ndarray | None, bool]:
    """What can be told at once, and whether that is what training will have: the clusters of the run in the folder, or
    None where the config asks for none; else two for each machine and domain in place of those that are to be found."""
    if (settings := config.data.pseudo_labels) is None:
        return None, True
    manifest = open_shards(config.data)
    if (saved := saved_clusters(config, folder, manifest)) is not None:
        return saved, True
    _embedder(settings, manifest)
    clusters = np.full(len(manifest), NO_CLUSTER, dtype=np.int32)
    for clips in _groups(config, manifest).values():
        clusters[clips] = np.arange(len(clips)) % 2
    return clusters, False


def _groups(config: RunConfig, manifest: Manifest) -> dict[Group, np.ndarray]:
    if groups := groups_to_cluster(manifest, config.data.classes):
        return groups
    raise UserError("data.pseudo_labels: attributes tell the clips of every machine apart: leave it out")


def write_clusters(path: Path, manifest: Manifest, clusters: np.ndarray) -> None:
    """A row for each clip that is in a cluster."""
    clips = np.flatnonzero(clusters != NO_CLUSTER)
    columns = [manifest.strings(name, clips) for name in ("key", "file_name", "machine_type", "machine_id", "domain")]
    with io.StringIO() as text:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("key", "file", "machine_type", "machine_id", "domain", "cluster"))
        rows.writerows(zip(*columns, clusters[clips].tolist(), strict=True))
        write_whole(path, text.getvalue())
