"""One evaluation: which clips are embedded with which network, and what is written of them."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from asd.data.loader import BatchSource
from asd.data.manifest import ORIGIN_FILE, Manifest
from asd.data.splits import Splits, subset_per_class
from asd.distributed.ranks import Ranks
from asd.errors import UserError
from asd.evaluate.config import EvaluateConfig
from asd.evaluate.embed import EmbeddingPass, embed_clips
from asd.evaluate.embedding_cache import EmbeddingCache
from asd.evaluate.store import Evaluation, write_embeddings
from asd.report import Validation
from asd.run_folder import checkpoint
from asd.run_folder.paths import RunFolder
from asd.scorers import learns_from_faults
from asd.scorers.embeddings import all_finite


class Evaluator:
    """Embeds checkpoints for scoring and keeps account of what is scored."""

    def __init__(
        self,
        config: EvaluateConfig,
        splits: Splits,
        loader: BatchSource,
        ranks: Ranks,
        folder: RunFolder,
        seed: int,
        cache: EmbeddingCache | None = None,
        untrained: str | None = None,
    ) -> None:
        """cache: where embeddings may be kept, for networks that are not trained. untrained: why nothing was trained,
        where the config would train."""
        self.cache, self.untrained = cache, untrained
        self.config, self.loader, self.ranks, self.folder = config, loader, ranks, folder
        self.fit_clips = subset_per_class(loader.manifest, splits.train, seed, config.fit_clips_per_class)
        faults = loader.manifest.known_faults
        self.known_faults = faults if any(map(learns_from_faults, config.scorers)) else faults[:0]
        few = config.test_clips_per_class
        self.held_out, self.test_clips = (
            subset_per_class(loader.manifest, clips, seed, few) for clips in (splits.validation, splits.test)
        )

    def embed(self, task: nn.Module, step: int, epoch: float, target: Path, show_progress: bool = False) -> Evaluation:
        """Embed fit, validation and test clips with all ranks and write them to target (rank 0); known faults as well,
        where a scorer learns from them."""
        begin = time.perf_counter()
        clips = np.unique(np.concatenate([self.fit_clips, self.held_out, self.test_clips, self.known_faults]))
        found = self._cached(task, clips, show_progress)
        scale = getattr(task, "logit_scale", None)
        return self.ranks.run_on_main(
            lambda: self._write(found, scale, step, epoch, target, time.perf_counter() - begin)
        )

    def rehearse(self, task: nn.Module) -> None:
        """Embed a batch of the longest clips on every rank, for nothing: too little memory is seen at once."""
        clips, frames = np.concatenate([self.fit_clips, self.test_clips]), self.loader.manifest.frames
        longest = clips[frames[clips] == frames[clips].max()]
        samples = int(self.config.batch_audio_s * self.loader.manifest.sample_rate)
        many = self.ranks.world_size * max(1, samples // int(frames[longest[0]]))
        self._pass(task, longest[:many], show_progress=False)

    def _cached(self, task: nn.Module, clips: np.ndarray, show_progress: bool) -> EmbeddingPass | None:
        """The pass of clips on rank 0, from the cache where it is there."""
        cache = self.cache
        if cache is None:
            return self._pass(task, clips, show_progress)
        found, key = None, ""

        def is_kept() -> bool:
            nonlocal found, key
            key = cache.key(task, self.loader.manifest)
            found = cache.read(key, clips)
            return found is not None

        if self.ranks.run_on_main(is_kept):
            return found
        found = self._pass(task, clips, show_progress)
        if found is not None:
            cache.write(key, clips, found)
        return found

    def _pass(self, task: nn.Module, clips: np.ndarray, show_progress: bool) -> EmbeddingPass | None:
        """All ranks embed clips."""
        rate = self.loader.manifest.sample_rate
        first = None if self.config.first_s is None else round(self.config.first_s * rate)
        return embed_clips(
            task,
            self.loader,
            self.ranks,
            clips,
            int(self.config.batch_audio_s * rate),
            first,
            self.config.average,
            self.fit_clips,
            show_progress,
            self.config.reference_weight,
        )

    def _write(
        self,
        found: EmbeddingPass | None,
        logit_scale: float | None,
        step: int,
        epoch: float,
        target: Path,
        seconds: float,
    ) -> Evaluation:
        assert found is not None
        if not (all(map(all_finite, (found.clips.embedding, found.clips.logits, found.clips.faults)))):
            raise UserError(
                f"step {step}: the network gives non-finite embeddings: use "
                "distributed.precision=fp32, go back to an earlier checkpoint, or lower optim.lr in another run.dir"
            )
        manifest = self.loader.manifest
        evaluation = Evaluation(
            run=self.folder.root.name,
            run_folder=str(self.folder.root),
            step=step,
            epoch=epoch,
            checkpoint=checkpoint.step_path(self.folder.checkpoints, step).name,
            shards=_origin(manifest),
            fingerprint=manifest.fingerprint,
            machine_types=tuple(sorted({c.machine_type for c in manifest.classes})),
            machine_ids=tuple(sorted({c.machine_id for c in manifest.classes})),
            select=self.config.select,
            scorers=self.config.scorers,
            flip=tuple(str(own) for own in manifest.classes if str(own) in self.config.flip),
            threshold=self.config.threshold,
            validation=_validation(found, self.held_out),
            fit_clips=len(self.fit_clips) + (len(self.held_out) if self.config.fit_held_out else 0),
            fit_held_out=self.config.fit_held_out,
            untrained=self.untrained,
            unreadable_clips=found.unreadable,
            views=dict(found.clips.views),
            logit_scale=logit_scale,
            embed_s=seconds,
        )
        parts = [self.fit_clips, self.held_out, self.test_clips, self.known_faults]
        fit, *others, faults = (found.of(clips)[0] for clips in parts)
        write_embeddings(target, evaluation, replace(fit, known_faults=faults if len(faults) else None), *others)
        return evaluation


def _origin(manifest: Manifest) -> str:
    """The folder of a set; of a cached one the address that it came from, without passwords."""
    origin = manifest.root / ORIGIN_FILE
    return origin.read_text(encoding="utf-8").strip() if origin.is_file() else str(manifest.root.resolve())


def _validation(found: EmbeddingPass, clips: np.ndarray) -> Validation | None:
    if not len(clips):
        return None
    rows, loss = found.of(clips)
    held_out = rows.per_clip()
    accuracy = None
    if held_out.logits.shape[1] > 1:  # of a single machine, whose clusters are told apart, it says nothing
        accuracy = float((held_out.logits.argmax(1) == held_out.class_index).float().mean())
    mean = float(loss.mean())
    return Validation(loss=None if math.isnan(mean) else mean, accuracy=accuracy, clips=len(held_out))
