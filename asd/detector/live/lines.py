"""Events as lines of JSON on standard output, which a full disk or a reader that is gone may not take."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from asd.errors import UserError

log = logging.getLogger(__name__)


class Lines:
    """is_only: nobody else is told, so that listening ends where the reader is gone."""

    def __init__(self, is_only: bool) -> None:
        self._is_only = is_only
        self._fails = False

    def write(self, event: dict[str, Any]) -> None:
        """What cannot be written is lost, which is said once. UserError where all that comes would be."""
        try:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            if self._is_only:
                raise UserError("the reader of standard output is gone, and with it every event: start both") from None
            log.warning("the reader of standard output is gone: events go to --mqtt alone")
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            if not self._fails:
                log.warning("standard output: %s: events are lost until it takes them again", error.strerror)
            self._fails = True
        else:
            self._fails = False
