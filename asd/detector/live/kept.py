"""Odd windows, kept to be listened to: sound and numbers side by side in a folder that does not grow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soundfile

from asd.audio.windows import Window
from asd.files.atomic import whole, write_whole

PREFIX = "odd_"


@dataclass
class OddWindows:
    """At most so many windows, of which the oldest go first."""

    folder: Path
    at_most: int
    sample_rate: int

    def keep(self, window: Window, score: float, why: dict[str, Any] | None) -> str | None:
        """The name of the WAV, or None where the disk does not take it: listening goes on. why: an explanation
        that is written beside it."""
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S_%f")
        path = self.folder / f"{PREFIX}{moment}.wav"
        about = {"at_s": window.begin_s, "score": score, "why": why}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(path) as file:
                soundfile.write(file, window.samples, self.sample_rate, format="WAV", subtype="PCM_16")
            write_whole(path.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
            self._make_room()
        except OSError:
            return None
        return path.name

    def _make_room(self) -> None:
        for old in sorted(self.folder.glob(f"{PREFIX}*.wav"))[: -self.at_most]:
            old.unlink(missing_ok=True)
            old.with_suffix(".json").unlink(missing_ok=True)
