"""Events on a standard output that does not take them."""

from __future__ import annotations

import errno
import json
import os

import pytest

from asd.detector.live.lines import Lines
from asd.errors import UserError


class Full:
    """A standard output that raises what it is told to."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.taken: list[str] = []

    def write(self, text: str) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append(text)

    def flush(self) -> None:
        pass


def test_a_full_disk_is_told_once_and_events_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = Full()
    monkeypatch.setattr("sys.stdout", out)
    lines = Lines(is_only=True)
    for number, error in enumerate([None, errno.ENOSPC, errno.ENOSPC, None]):
        out.error = None if error is None else OSError(error, os.strerror(error))
        lines.write({"n": number})
    assert [json.loads(text) for text in out.taken] == [{"n": 0}, {"n": 3}]
    assert caplog.messages == ["standard output: No space left on device: events are lost until it takes them again"]


def test_without_a_reader_listening_ends_unless_a_broker_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for is_only in (True, False):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "w") as pipe:
            monkeypatch.setattr("sys.stdout", pipe)
            if is_only:
                with pytest.raises(UserError, match="the reader of standard output is gone"):
                    Lines(is_only).write({"n": 1})
                os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.fileno())
                continue
            lines = Lines(is_only)
            lines.write({"n": 1})
            lines.write({"n": 2})
    assert caplog.messages == ["the reader of standard output is gone: events go to --mqtt alone"]
