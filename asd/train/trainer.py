"""The training loop. It does not know how clips are stored, what the loss is or how checkpoints are scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from asd.data.batch import Batch
from asd.data.loader import Loader, training_requests
from asd.data.plan import Plan
from asd.distributed.ranks import Ranks
from asd.errors import UserError
from asd.files.safe_torch import short
from asd.loggers.base import Loggers
from asd.monitor.stages import Stage
from asd.optim.build import MaskedOptimizer
from asd.optim.config import OptimConfig
from asd.process.stop import StoppedError, StopSignal, write_stop_marker
from asd.run_folder import checkpoint
from asd.run_folder.checkpoint import CheckpointConfig, Payload
from asd.train.batchnorm import RunningStatistics, loss_scale
from asd.train.cadence import Every
from asd.train.config import TrainConfig
from asd.train.flags import FlaggedTask, FlagReader
from asd.train.interval import Interval
from asd.train.state import TrainState


class Evaluate(Protocol):
    """Scores the model at a step; knows which checkpoints must stay."""

    def __call__(self, task: nn.Module, step: int, epoch: float) -> None: ...

    def due(self, step: int) -> bool: ...

    def missing(self, step: int) -> bool: ...

    def protected_steps(self) -> Collection[int]: ...


@dataclass(frozen=True)
class Parts:
    """What a trainer is put together from."""

    task: nn.Module  # on the ranks' device, and was when the optimiser was made
    optimizer: MaskedOptimizer
    loader: Loader
    plan: Plan
    crop: int  # samples
    max_bad_clips: int
    ranks: Ranks
    loggers: Loggers
    stop: StopSignal
    evaluate: Evaluate
    checkpoints: Path
    meta: dict[str, Any]  # goes into every checkpoint's meta.json
    config_yaml: str
    first: int | None = None  # samples of each clip within which crops lie; None: anywhere


class Trainer:
    """Runs a plan's steps from a TrainState to the end, or to a stop signal."""

    def __init__(
        self, train: TrainConfig, optim: OptimConfig, saving: CheckpointConfig, parts: Parts, resumed: Payload | None
    ) -> None:
        self.train, self.optim, self.saving, self.parts, self.ranks = train, optim, saving, parts, parts.ranks
        self.stage = Stage.START  # what this rank is doing: the watchdog looks
        self.steps_per_epoch = parts.plan.steps_per_epoch
        self.total_steps = train.total_steps(self.steps_per_epoch)
        self.log_at = Every(train.log_every, self.total_steps)
        self.save_at = Every(saving.every_steps or self.steps_per_epoch, self.total_steps)
        self.state = TrainState()
        self.flagged = FlaggedTask(parts.task).to(self.ranks.device)
        self.model = self.ranks.wrap(self.flagged)
        self.optimizer, self.scaler = parts.optimizer, self.ranks.accelerator.scaler
        self.weights = [weight for weight in parts.task.parameters() if weight.requires_grad]
        if resumed is not None:
            self._restore(resumed)
        self.flags = FlagReader()
        self.interval = Interval(self.ranks)
        self.statistics = RunningStatistics(parts.task)
        self.scale = loss_scale(self.scaler, self.ranks.device)
        self.bad_clips_seen = self.stop_requested = self.step_undone = False
        self.lr = 0.0

    def run(self) -> Literal["finished", "stopped"]:
        """Train to the end, or until any rank is asked to stop; save and evaluate on the way."""
        try:
            return self._run()
        except StoppedError:  # in an evaluation, before which all was saved
            write_stop_marker()
            return "stopped"

    def _run(self) -> Literal["finished", "stopped"]:
        if self.parts.evaluate.due(self.state.step) and self.ranks.run_on_main(
            lambda: self.parts.evaluate.missing(self.state.step)
        ):
            self._evaluate()  # a kill came between saving and embedding
        self.model.train()
        batches = self._batches()
        while self.state.step < self.total_steps:
            self.stage = Stage.FLAGS
            self._read_flags(unread=1)
            if self.stop_requested:
                self._read_flags()
                self._save()
                return "stopped"
            self.stage = Stage.DATA
            self._step(next(batches))
            self._show()
            self._keep()
        return "finished"

    def _step(self, batch: Batch) -> None:
        """wait for batch → learning rate → forward, backward → clip → update if finite → count."""
        self.stage = Stage.STEP
        self.statistics.remember()
        self.scale.remember()
        self._seed_dropout()
        self._set_learning_rate()
        losses = self._forward_backward(batch)
        norm = self._clip()
        nonfinite = self._update(norm)
        self.flags.add(self.state.step + 1, self.flagged.pop_flags(nonfinite))
        self.interval.add({**losses, "grad_norm": norm}, len(batch.clip_index), self.parts.loader.pop_wait_s())
        self.state.step += 1
        self.state.clips_seen += self.train.global_batch

    def _seed_dropout(self) -> None:
        """Exact on resume. torch.manual_seed formats three stack traces for devices that are not there: 0.5 ms."""
        seed, device = step_seed(self.train.seed, self.state.step, self.ranks.rank), self.ranks.device
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index].manual_seed(seed)

    def _set_learning_rate(self) -> None:
        """That of the middle of the step: at the beginning of a warm-up it is 0, and at the end of a cosine."""
        middle = (self.state.step + 0.5) / self.steps_per_epoch
        self.lr = self.optim.lr_at(middle, self.total_steps / self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr

    def _forward_backward(self, batch: Batch) -> dict[str, Tensor]:
        """Accumulate gradients over the parts of a batch; ranks exchange them with the last part.

        Returns the loss and what the task wants to have shown beside it, scalars that are means over the parts.
        """
        stop, bad_clips = self.parts.stop.name is not None, bool(self.parts.loader.reader.bad)
        parts = batch.split(self.train.accumulate)
        outputs = []
        for index, part in enumerate(parts):
            with nullcontext() if index == len(parts) - 1 else self.ranks.accelerator.no_sync(self.model):
                output = self.model(part, stop, bad_clips)
                self._scaled(output.loss, len(parts)).backward()
            outputs.append({"loss": output.loss.detach(), **output.logs})
        if len(outputs) == 1:
            return outputs[0]
        return {name: torch.stack([o[name].float() for o in outputs]).mean() for name in outputs[0]}

    # accelerate's backward, clip_grad_norm_ and optimiser look for packages and signatures at every step: 0.4 ms. Its
    # scaler is used without them.

    def _scaled(self, loss: Tensor, parts: int) -> Tensor:
        share = loss / parts if parts > 1 else loss
        return share if self.scaler is None else self.scaler.scale(share)

    def _clip(self) -> Tensor:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([w.grad for w in self.weights if w.grad is not None])
        if self.train.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.weights, self.train.clip_norm, norm)
        return norm

    def _update(self, norm: Tensor) -> Tensor | None:
        """Step the optimiser. A gradient that is not finite (the same on all ranks) changes nothing, on the device.

        Returns 1.0 for such a gradient, as a scalar; None where it is the fp16 scaler's everyday business.
        """
        if self.scaler is None:
            nonfinite = (~torch.isfinite(norm)).float()
            self.optimizer.found_inf = nonfinite  # type: ignore[attr-defined]
            self.optimizer.step()
        else:
            nonfinite = None
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        return nonfinite

    def _read_flags(self, unread: int = 0) -> None:
        """Read what was raised in each step but the newest `unread`: all ranks see the same and decide alike."""
        for seen in self.flags.read(unread):
            self.statistics.settle(seen.nonfinite or seen.missing)
            self.scale.settle(seen.missing)
            self.stop_requested |= seen.stop
            self.bad_clips_seen |= seen.bad_clips
            if seen.missing:
                self._undo_step()
                continue
            self.state.nonfinite_steps += seen.nonfinite
            self.state.nonfinite_streak = self.state.nonfinite_streak + 1 if seen.nonfinite else 0
            if self.state.nonfinite_streak >= self.train.max_nonfinite:
                raise UserError(
                    f"loss or gradient was not finite for {self.state.nonfinite_streak} steps in a row up to step "
                    f"{seen.step}: use train.precision=fp32, or a lower optim.lr in another run.dir"
                )

    def _undo_step(self) -> None:
        """A rank that was asked to stop could not have its clips: the step changed nothing and does not count."""
        self.state.step -= 1
        self.state.clips_seen -= self.train.global_batch
        self.interval.undo()
        self.step_undone = True

    def _show(self) -> None:
        if not self.log_at.due(self.state.step):
            self.parts.loggers.advance(self.state.step)
            return
        self.stage = Stage.SHOW
        self._read_flags()
        if self.step_undone:
            return
        record = self._record()
        self.parts.loggers.log(self.state.step, record)
        self._check_bad_clips(int(record["bad_clips"]))

    def _record(self) -> dict[str, float]:
        return {
            **self.interval.record(self.epoch, self.lr),
            "clips_seen": self.state.clips_seen,
            "bad_clips": len(self._bad_clips()),
            "nonfinite_steps": self.state.nonfinite_steps,
        }

    def _bad_clips(self) -> dict[int, str]:
        """Clips that any rank could not read; asked for only where the flags say that there are some."""
        if not self.bad_clips_seen:
            return {}
        found = self.ranks.gather_objects(dict(self.parts.loader.reader.bad))
        return {clip: why for rank in found for clip, why in rank.items()}

    def _check_bad_clips(self, count: int) -> None:
        if count > self.parts.max_bad_clips:
            clip, why = next(iter(self._bad_clips().items()))
            key = self.parts.loader.manifest.strings("key", np.array([clip]))[0]
            raise UserError(
                f"{count} training clips could not be read, more than the {self.parts.max_bad_clips} that "
                f"data.max_bad_fraction allows (one is {key}: {why}): run python -m shards.verify on the set"
            )

    def _keep(self) -> None:
        """Save and evaluate where it is time to."""
        evaluate = self.parts.evaluate.due(self.state.step)
        if evaluate or self.save_at.due(self.state.step):
            with self.interval.timer.paused():
                self._read_flags()  # a step that was not finite must not leave a trace in what is saved
                if self.step_undone:
                    return
                self._save()
                if evaluate:
                    self._evaluate()
                self._prune()

    def _evaluate(self) -> None:
        self.stage = Stage.EVALUATE
        self.parts.evaluate(self.parts.task, self.state.step, self.epoch)
        self.model.train()

    def _save(self) -> None:
        """Rank 0 writes, all ranks learn whether it worked."""
        self.stage = Stage.SAVE
        self.statistics.average(self.ranks)
        self.ranks.run_on_main(lambda: checkpoint.save(self.parts.checkpoints, self.state.step, self._payload()))
        self.parts.loggers.flush()

    def _prune(self) -> None:
        keep = self.parts.evaluate.protected_steps
        self.ranks.run_on_main(lambda: checkpoint.prune(self.parts.checkpoints, self.saving, keep()))

    def _payload(self) -> Payload:
        return Payload(
            model=self.parts.task.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=None if self.scaler is None else self.scaler.state_dict(),
            state=dataclasses.asdict(self.state),
            meta={**self.parts.meta, "step": self.state.step, "epoch": self.epoch},
            config_yaml=self.parts.config_yaml,
        )

    def _restore(self, payload: Payload) -> None:
        """Raises UserError where the state is of another network, or was changed by hand."""
        try:
            self.parts.task.load_state_dict(payload.model)
            self.optimizer.load_state_dict(payload.optimizer)
            if payload.scaler is not None and self.scaler is not None:
                self.scaler.load_state_dict(payload.scaler)
            self.state = TrainState.of(payload.state)
            for parameter, own in self.optimizer.state.items():
                if any(isinstance(s, Tensor) and s.dim() and s.shape != parameter.shape for s in own.values()):
                    raise ValueError("its optimiser has tensors of other shapes")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"the newest checkpoint does not fit this run ({short(error)}): remove it") from None

    def _batches(self) -> Iterator[Batch]:
        epoch, step = divmod(self.state.step, self.steps_per_epoch)
        rank, world_size, loader = self.ranks.rank, self.ranks.world_size, self.parts.loader
        parts = self.parts
        requests = training_requests(
            loader.manifest, parts.plan, parts.crop, epoch, step, rank, world_size, parts.first
        )
        batches = loader.stream(requests)
        if not self.train.reuse_first_batch:
            return batches
        first = next(batches)
        kept = dataclasses.replace(first, waveform=first.waveform.clone())
        return iter(lambda: kept, None)

    @property
    def epoch(self) -> float:
        """Epochs done, as a fraction."""
        return self.state.step / self.steps_per_epoch


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of torch's generators for one step of one rank."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])
