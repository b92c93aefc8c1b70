"""Odd windows, kept to be listened to: sound and numbers side by side in a folder that does not grow."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soundfile

from asd.audio.windows import Window
from asd.files.atomic import whole, write_whole

log = logging.getLogger(__name__)

PREFIX = "odd_"


@dataclass
class OddWindows:
    """At most so many windows, of which the oldest go first. OSError where the folder cannot be had."""

    folder: Path
    at_most: int
    sample_rate: int
    _fails: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.folder))
        for torn in self.folder.glob(f"{PREFIX}*.partial"):  # of a listener that was killed
            torn.unlink(missing_ok=True)

    def keep(self, window: Window, score: float, why: dict[str, Any] | None) -> str | None:
        """The name of the WAV, or None where the disk does not take it, which is said once: listening goes on. why: an
        explanation that is written beside it."""
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S_%f")
        path = self.folder / f"{PREFIX}{moment}.wav"
        about = {"at_s": window.begin_s, "score": score, "why": why}
        wav = io.BytesIO()
        soundfile.write(wav, window.samples, self.sample_rate, format="WAV", subtype="PCM_16")
        try:
            self._make_room()
            write_whole(path.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
            with whole(path) as file:
                file.write(wav.getbuffer())
        except OSError as error:
            path.with_suffix(".json").unlink(missing_ok=True)
            if not self._fails:
                log.warning(
                    "--keep-odd %s: %s: odd windows are not kept until there is room", self.folder, error.strerror
                )
            self._fails = True
            return None
        self._fails = False
        return path.name

    def _make_room(self) -> None:
        """For one more."""
        there = sorted(self.folder.glob(f"{PREFIX}*.wav"))
        for old in there[: max(len(there) - self.at_most + 1, 0)]:
            old.unlink(missing_ok=True)
            old.with_suffix(".json").unlink(missing_ok=True)
