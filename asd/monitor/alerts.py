"""When something is not as it should be: rules over the numbers of a run, and what began and ended by them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from asd.monitor.status import Alert

Found = dict[str, str | None]  # name of an alert → its text; None: it is not so

NAMES = ("nonfinite", "data_wait", "bad_clips", "no_learning", "stalled", "unscored")
MAX_WAIT = 20.0  # percent of the time
# A run of that many intervals, and of that many seconds: the first batches of a run, or of a shard that is just
# being fetched, come late without any harm.
WAITING_INTERVALS, WAITING_S = 3, 30.0


class IntervalRules:
    """What the records of metrics.jsonl tell, one after the other."""

    def __init__(self, step: int, nonfinite_steps: int) -> None:
        """Both as the run begins, or goes on."""
        self._step, self._nonfinite = step, nonfinite_steps
        self._starved = False
        self._waits: deque[tuple[float, float]] = deque(maxlen=WAITING_INTERVALS)  # percent, seconds

    def __call__(self, step: int, record: Mapping[str, float]) -> Found:
        """The rules on an interval that ends at a step."""
        steps, self._step = step - self._step, step
        return {
            "nonfinite": self._left_out(int(record["nonfinite_steps"])),
            "data_wait": self._waiting(record["data_wait_percent"], steps * record["step_s"]),
            "bad_clips": _unreadable(int(record["bad_clips"])),
        }

    def _left_out(self, count: int) -> str | None:
        more, self._nonfinite = count - self._nonfinite, count
        if more <= 0:
            return None
        updates = f"{more} updates were" if more > 1 else "an update was"
        return (
            f"{updates} left out, loss or gradient was not finite ({count} so far): where it happens again and again, "
            "use distributed.precision=fp32, or a lower optim.lr in another run.dir"
        )

    def _waiting(self, percent: float, seconds: float) -> str | None:
        self._waits.append((percent, seconds))
        above = [wait > MAX_WAIT for wait, _ in self._waits]
        total = sum(s for _, s in self._waits)
        if all(above) and len(above) == WAITING_INTERVALS and total >= WAITING_S:
            self._starved = True
        elif not any(above):
            self._starved = False
        if not self._starved:
            return None
        share = sum(wait * s for wait, s in self._waits) / total if total else percent
        return (
            f"the slowest rank waits for data {share:.0f} % of the time: raise data.threads or data.prefetch, or bring "
            "the shards to a faster disk"
        )


def _unreadable(count: int) -> str | None:
    """Holds to the end: such a clip is silence in every epoch to come."""
    if not count:
        return None
    clips = f"{count} training clips" if count > 1 else "a training clip"
    return f"{clips} could not be read and train nothing: run python -m shards.verify on the set"


def evaluation_rules(warnings: Iterable[Mapping[str, str]]) -> Found:
    """What the report of an evaluation says under "warnings"."""
    texts = {warning["code"]: warning["text"] for warning in warnings}
    return {"no_learning": texts.get("no_learning")}


def backlog_rule(unscored: int, most: int | None, by_watcher: bool, holds: bool) -> Found:
    """Whether as many evaluations wait for their scores as may; it is over when half of them are scored."""
    if most is None or unscored < (most // 2 + 1 if holds else most):
        return {"unscored": None}
    remedy = (
        "start python eval.py watch on the run"
        if by_watcher
        else "raise evaluate.every_epochs, name fewer evaluate.scorers, or have a watcher (evaluate.by_watcher)"
    )
    text = f"{unscored} evaluations wait for their scores; of more than {most} (evaluate.max_unscored) the oldest go"
    return {"unscored": f"{text}: {remedy}"}


@dataclass(frozen=True)
class Change:
    """An alert that began, or ended."""

    alert: Alert
    began: bool
    step: int

    @property
    def line(self) -> str:
        if self.began:
            return f"alert: {self.alert.name} at step {self.step}: {self.alert.text}"
        return f"alert: {self.alert.name} is over at step {self.step} (began at step {self.alert.since_step})"


class Alerts:
    """Those that hold."""

    def __init__(self) -> None:
        self._active: dict[str, Alert] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        return tuple(self._active.values())

    def holds(self, name: str) -> bool:
        return name in self._active

    def update(self, step: int, found: Found) -> list[Change]:
        """What began and what ended; one that goes on takes the newest text quietly, one not in `found` stays."""
        changes = []
        for name, text in found.items():
            former = self._active.pop(name, None)
            if text is not None:
                alert = Alert(name=name, since_step=former.since_step if former else step, text=text)
                self._active[name] = alert
                if former is None:
                    changes.append(Change(alert, True, step))
            elif former is not None:
                changes.append(Change(former, False, step))
        return changes
