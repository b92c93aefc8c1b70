"""The words `--false-alarms 1/day --alarm-when 3/5 --every 10` as a rule for thresholds."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pydantic

from asd.errors import UserError
from asd.metrics.false_alarms import AT_MOST, FalseAlarmsConfig


@dataclass(frozen=True)
class Budget:
    """at_most: such as 1/day. when: hits of windows, such as 3/5. every_s: from window to window; None: no gap."""

    at_most: str
    when: str
    every_s: float | None

    @classmethod
    def of(cls, at_most: str | None, when: str | None, every_s: float | None) -> Budget | None:
        """None where no budget is given; then there must be nothing else of it."""
        if at_most is not None:
            return cls(at_most, "1/1" if when is None else when, every_s)
        if when is not None or every_s is not None:
            raise UserError(
                f"--{'every' if when is None else 'alarm-when'}: it belongs to --false-alarms, such as 1/day"
            )
        return None

    def rule(self, window_s: float) -> FalseAlarmsConfig:
        """UserError where the words are no budget."""
        if re.fullmatch(AT_MOST, self.at_most) is None:
            raise UserError(
                f"--false-alarms {self.at_most}: give a number an hour, a day or a week, such as 1/day or 0.5/week"
            )
        hits = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", self.when)
        if hits is None:
            raise UserError(f"--alarm-when {self.when}: give hits of windows, such as 3/5")
        every_s = window_s if self.every_s is None else self.every_s
        words = {"at_most": self.at_most, "every_s": every_s, "hits": int(hits[1]), "of": int(hits[2])}
        try:
            return FalseAlarmsConfig.model_validate(words)
        except pydantic.ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            said = " ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
            given = f" --every {self.every_s:g}" if self.every_s is not None else ""
            raise UserError(
                f"--false-alarms {self.at_most} --alarm-when {self.when}{given}: {said} (such as --false-alarms 1/day "
                "--alarm-when 3/5)"
            ) from None
