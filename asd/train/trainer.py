"""The training loop. It does not know how clips are stored, what the loss is or how checkpoints are scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from asd.data.batch import Batch
from asd.data.loader import training_requests
from asd.distributed.memory import enough_memory
from asd.errors import UserError
from asd.files.safe_torch import short
from asd.monitor.stages import Stage
from asd.optim.config import OptimConfig
from asd.process.stop import StoppedError, write_stop_marker
from asd.run_folder import checkpoint, pruning
from asd.run_folder.checkpoint import CheckpointConfig, Payload
from asd.train.batchnorm import RunningStatistics
from asd.train.cadence import Every
from asd.train.config import TrainConfig
from asd.train.ema import AveragedWeights
from asd.train.interval import Interval
from asd.train.nonfinite import NonfiniteSteps
from asd.train.parts import Parts
from asd.train.profile import StepProfile
from asd.train.state import TrainState
from asd.train.work import StepWork

REMEDY = "lower train.global_batch or data.crop_s, raise train.accumulate, or start more ranks"


class Trainer:
    """Runs a plan's steps from a TrainState to the end, or to a stop signal."""

    def __init__(
        self, train: TrainConfig, optim: OptimConfig, saving: CheckpointConfig, parts: Parts, resumed: Payload | None
    ) -> None:
        self.train, self.saving, self.parts, self.ranks = train, saving, parts, parts.ranks
        self.stage = Stage.START  # what this rank is doing: the watchdog looks
        self.steps_per_epoch = parts.plan.steps_per_epoch
        self.total_steps = train.total_steps(self.steps_per_epoch)
        self.optim = optim.in_epochs(self.steps_per_epoch)
        self.log_at = Every(train.log_every, self.total_steps)
        self.save_at = Every(saving.every_steps or self.steps_per_epoch, self.total_steps)
        self.state = TrainState()
        self.model = self.ranks.wrap(parts.task)
        self.optimizer, self.scaler = parts.optimizer, self.ranks.accelerator.scaler
        self.weights = [weight for weight in parts.task.parameters() if weight.requires_grad]
        self.averaged = None if train.ema is None else AveragedWeights(parts.task, train.ema)
        if resumed is not None:
            self._restore(resumed)
        self.nonfinite = NonfiniteSteps(self.state.nonfinite_steps, self.state.nonfinite_streak, self.ranks.device)
        self.interval = Interval(self.ranks)
        self.profile = StepProfile(train.profile, self.ranks.rank, self.ranks.device, parts.profile)
        self.work = StepWork(parts.task, self.ranks.device, self.ranks.precision)
        self.statistics = RunningStatistics(parts.task.named_buffers())
        self.bad_clips_seen = False
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
        for _ in self.steps():
            self._show()
            self._keep()
        if self.state.step == self.total_steps:
            return "finished"
        write_stop_marker()
        self._save()
        return "stopped"

    def steps(self) -> Iterator[int]:
        """Take steps and yield the number of each, up to the last, or until any rank is asked to stop."""
        self.model.train()
        batches = self.batches()
        while self.state.step < self.total_steps:
            self.stage = Stage.DATA
            batch = next(batches)
            self.stage = Stage.FLAGS
            if self._stop_requested(batch):
                return
            self.stage = Stage.STEP
            self.profile.before(self.state.step)
            with enough_memory(self.ranks.device, f"a step with {len(batch.clip_index)} clips on this rank", REMEDY):
                self._step(batch)
            self.profile.after(self.state.step)
            yield self.state.step

    def _stop_requested(self, batch: Batch) -> bool:
        """Whether any rank is asked to stop, by then maybe without clips; all ranks learn the same before each step."""
        stop = batch.is_placeholder or self.parts.stop.name is not None
        stop, bad_clips = self.ranks.any(stop, bool(self.parts.loader.bad))
        self.bad_clips_seen |= bad_clips
        return stop

    def _step(self, batch: Batch) -> None:
        """learning rate → forward, backward → clip → update, unless the gradient is not finite → count.

        Gradients are means over ranks, so what is finite on one is finite on all, and the device decides by itself.
        """
        former = self.statistics.copy()
        self._seed_dropout()
        self._set_learning_rate()
        losses = self._forward_backward(batch)
        with self.interval.clock.time("update"):
            norm = self._clip()
            skipped = ~torch.isfinite(norm)
            self._update(skipped)
            self.statistics.restore(former, where=skipped)
            if self.averaged is not None:
                self.averaged.update(self.state.step, skipped)
        everyday = self.scaler is not None  # the fp16 scaler tries larger scales until one overflows
        self.nonfinite.add(~torch.isfinite(losses["loss"]) | (skipped & (not everyday)))
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
            group["lr"] = self.lr * group.get("lr_share", 1.0)

    def _forward_backward(self, batch: Batch) -> dict[str, Tensor]:
        """Accumulate gradients over the parts of a batch; ranks exchange them with the last part.

        Returns the loss and what the task wants to have shown beside it, scalars that are means over the parts.
        """
        clock, parts = self.interval.clock, batch.split(self.train.accumulate)
        outputs = []
        for index, part in enumerate(parts):
            with nullcontext() if index == len(parts) - 1 else self.ranks.accelerator.no_sync(self.model):
                with clock.time("forward"), self.work.counting(len(part.clip_index)):
                    output = self.model(part)
                with clock.time("backward"):
                    share = output.loss / len(parts) if len(parts) > 1 else output.loss
                    (share if self.scaler is None else self.scaler.scale(share)).backward()
            outputs.append({"loss": output.loss.detach(), **output.logs})
        if len(outputs) == 1:
            return outputs[0]
        return {name: torch.stack([o[name].float() for o in outputs]).mean() for name in outputs[0]}

    # accelerate's backward, clip_grad_norm_ and optimiser look for packages and signatures at every step: 0.4 ms. Its
    # scaler is used without them.

    def _clip(self) -> Tensor:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([w.grad for w in self.weights if w.grad is not None])
        if self.train.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.weights, self.train.clip_norm, norm)
        return norm

    def _update(self, skipped: Tensor) -> None:
        """Step the optimiser; where `skipped` is true, it changes neither weights nor its state."""
        if self.scaler is None:
            self.optimizer.found_inf = skipped.float()  # type: ignore[attr-defined]
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()

    def _check_finite(self) -> None:
        """Read the counts, of all ranks; UserError where too many steps in a row were not finite."""
        self.state.nonfinite_steps, self.state.nonfinite_streak, longest = self.nonfinite.read()
        if longest >= self.train.max_nonfinite:
            raise UserError(
                f"loss or gradient was not finite for {longest} steps in a row by step {self.state.step}: "
                "use distributed.precision=fp32, or a lower optim.lr in another run.dir"
            )

    def _show(self) -> None:
        if not self.log_at.due(self.state.step):
            self.parts.loggers.advance(self.state.step)
            return
        self.stage = Stage.SHOW
        self._check_finite()
        bad_clips = self._bad_clips()
        numbers = self.interval.record(self.epoch, self.lr)
        record = {
            **numbers,
            **self.work.record(numbers["clips_per_s"], self.ranks.world_size),
            "clips_seen": self.state.clips_seen,
            "bad_clips": len(bad_clips),
            "nonfinite_steps": self.state.nonfinite_steps,
        }
        self.parts.loggers.log(self.state.step, record)
        self._check_bad_clips(bad_clips)

    def _bad_clips(self) -> dict[int, str]:
        """Clips that any rank could not read; asked for only where the flags say that there are some."""
        if not self.bad_clips_seen:
            return {}
        found = self.ranks.gather_objects(dict(self.parts.loader.bad))
        return {clip: why for rank in found for clip, why in rank.items()}

    def _check_bad_clips(self, bad_clips: dict[int, str]) -> None:
        if len(bad_clips) > self.parts.max_bad_clips:
            clip, why = next(iter(bad_clips.items()))
            key = self.parts.loader.manifest.strings("key", np.array([clip]))[0]
            raise UserError(
                f"{len(bad_clips)} training clips could not be read, more than the {self.parts.max_bad_clips} that "
                f"train.max_bad_fraction allows (one is {key}: {why}): run python -m shards.verify on the set"
            )

    def _keep(self) -> None:
        """Save and evaluate where it is time to."""
        evaluate = self.parts.evaluate.due(self.state.step)
        if evaluate or self.save_at.due(self.state.step):
            with self.interval.clock.paused():
                self._save()
                if evaluate:
                    self._evaluate()
                protected = self.parts.evaluate.protected_steps
                self.ranks.run_on_main(lambda: pruning.prune(self.parts.checkpoints, self.saving, protected()))

    def _evaluate(self) -> None:
        self.stage = Stage.EVALUATE
        with nullcontext() if self.averaged is None else self.averaged.in_place():
            self.parts.evaluate(self.parts.task, self.state.step, self.epoch)
        self.model.train()

    def _save(self) -> None:
        """Rank 0 writes, all ranks learn whether it worked."""
        self.stage = Stage.SAVE
        self._check_finite()
        self.statistics.average(self.ranks)
        if self.averaged is not None:
            self.averaged.average_statistics(self.ranks)
        self.ranks.run_on_main(lambda: checkpoint.save(self.parts.checkpoints, self.state.step, self._payload()))
        self.parts.loggers.flush()

    def _payload(self) -> Payload:
        return Payload(
            model=self.parts.task.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=None if self.scaler is None else self.scaler.state_dict(),
            state=dataclasses.asdict(self.state),
            meta={**self.parts.meta, "step": self.state.step, "epoch": self.epoch},
            config_yaml=self.parts.config_yaml,
            averaged=None if self.averaged is None else self.averaged.tensors,
        )

    def _restore(self, payload: Payload) -> None:
        """Raises UserError where the state is of another network, or was changed by hand."""
        try:
            self.parts.task.load_state_dict(payload.model)
            if self.averaged is not None:
                self.averaged.restore(payload.averaged)
            self.optimizer.load_state_dict(payload.optimizer)
            if payload.scaler is not None and self.scaler is not None:
                self.scaler.load_state_dict(payload.scaler)
            self.state = TrainState.of(payload.state)
            for parameter, own in self.optimizer.state.items():
                if any(isinstance(s, Tensor) and s.dim() and s.shape != parameter.shape for s in own.values()):
                    raise ValueError("its optimiser has tensors of other shapes")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"the newest checkpoint does not fit this run ({short(error)}): remove it") from None

    def batches(self) -> Iterator[Batch]:
        """This rank's batches from the present step on, without end."""
        epoch, step = divmod(self.state.step, self.steps_per_epoch)
        parts, ranks = self.parts, self.ranks
        manifest = parts.loader.manifest
        batches = parts.loader.stream(
            training_requests(manifest, parts.plan, parts.crop, epoch, step, ranks.rank, ranks.world_size, parts.first)
        )
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
