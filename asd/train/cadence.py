"""When something is due: logging, saving and evaluating ask the same class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Every:
    """Every so many steps, and at the last one, which is 0 where nothing is trained."""

    steps: int
    last: int

    def due(self, step: int) -> bool:
        """Whether it is, when so many steps are done."""
        return step == self.last or (step > 0 and step % self.steps == 0)
