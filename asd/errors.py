"""The one exception type that a user's mistake becomes."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from asd.process import logs
from asd.process.last_word import say_last

log = logging.getLogger(__name__)

EXIT_USER_ERROR = 2


class UserError(Exception):
    """Something the user can put right; the message is one line: what, where, what to do.

    Under torchrun `every_rank` says that all ranks raise it together, so that rank 0 alone prints it.
    """

    def __init__(self, message: str, every_rank: bool = True) -> None:
        super().__init__(printable(re.sub(r"\s*[\r\n]\s*", " ", message.strip())))
        self.every_rank = every_rank


def run_main(main: Callable[[], int | None]) -> None:
    """Run a command line's main and exit; a `UserError` or a failed file operation becomes one line and exit code 2."""
    logs.set_up("plain")
    threading.excepthook = _thread_failed
    _show_all_characters()
    one_of_many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    try:
        code = _exit_code(main)
    except Exception as error:
        if not one_of_many and logs.form() == "plain":
            raise
        words = f"{type(error).__name__}: {printable(next(iter(str(error).splitlines()), ''))}"
        log.exception(words)
        say_last(f"rank {os.environ.get('RANK', 0)} failed, its traceback is above: {words}")
        code = 1
    with suppress(OSError):
        _flush()
    if one_of_many:
        # All is closed by now, or lost. To take the interpreter down while a native thread of the process group asks
        # for its lock ends in std::terminate (seen once, after a complete run), which torchrun reports as a failure;
        # and a rank that failed alone must not wait for the others, which wait for it.
        os._exit(code)
    sys.exit(code)


def _exit_code(main: Callable[[], int | None]) -> int:
    try:
        code = main() or 0
        _flush()
        return code
    except UserError as error:
        return _complain(str(error), error.every_rank)
    except OSError as error:
        if error.errno is None:
            raise
        return _complain(describe_os_error(error), every_rank=False)
    except UnicodeEncodeError as error:
        return _complain(_describe_unwritable(error), every_rank=False)
    except KeyboardInterrupt:
        log.error("interrupted")
        return 130


def _flush() -> None:
    """All that was printed; OSError where it cannot be, once: the interpreter would try again, and say so twice."""
    for stream, name in ((sys.stdout, "standard output"), (sys.stderr, "standard error")):
        try:
            stream.flush()
        except OSError as error:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            raise OSError(error.errno, error.strerror, name) from None


def _show_all_characters() -> None:
    """What the terminal's encoding has no character for is shown as its number, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _describe_unwritable(error: UnicodeEncodeError) -> str:
    """One line for a name that is no text, or no file name in the encoding of the locale."""
    name = error.object[: error.start][-40:] + error.object[error.start :][:40]
    if error.encoding.replace("_", "-") == "utf-8":
        return f"{name}: this name is not UTF-8: give it another one"
    return f"{name}: the locale's encoding, {error.encoding}, has no such character: set PYTHONUTF8=1"


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """A failed file operation of TensorBoard's writer thread is raised again in the main thread: one line is enough."""
    if failure.exc_value is not None and not isinstance(failure.exc_value, OSError):
        log.error(f"a thread failed: {failure.exc_type.__name__}", exc_info=failure.exc_value)


def describe_os_error(error: OSError) -> str:
    """One line for a failed system call: what the system said and which file it was about."""
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def printable(text: str) -> str:
    """The text with what would drive a terminal, or is no text, as `\x1b` and the like."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _complain(message: str, every_rank: bool) -> int:
    if os.environ.get("RANK", "0") == "0" or not every_rank:
        log.error(printable(message))
    return EXIT_USER_ERROR
