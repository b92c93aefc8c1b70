"""The last console line of a job that failed under torchrun.

torchrun reports a failed rank in some forty lines of its own, below the rank's own line. So the first rank of a node
that fails passes its line to a process that waits for torchrun's end and shows it then.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys

from asd.process.logs import formatted

# Without imports of site-packages: a fiftieth of a second. A torchrun that has ended, but that nobody has waited for
# yet, still has its pid, not so its pidfd.
SPEAKER = """
import os, select, sys
agent, line = int(sys.argv[1]), sys.argv[2]
select.select([os.pidfd_open(agent)], [], [], 600)
os.write(2, line.encode("utf-8", "backslashreplace") + b"\\n")
"""


def say_last(message: str) -> None:
    """Have an error shown on stderr after torchrun's report, unless torchrun is to start the ranks once more."""
    restarts, most = (os.environ.get(f"TORCHELASTIC_{name}") for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    if restarts is None or restarts != most or sys.platform != "linux":
        return
    if "RANK" not in os.environ:  # a rank's scoring process, whose parent is no torchrun
        return
    first = socket.socket(socket.AF_UNIX)
    try:
        first.bind(f"\0asd/{os.environ.get('TORCHELASTIC_RUN_ID')}/{os.getppid()}")  # one word a torchrun
        command = [sys.executable, "-I", "-S", "-c", SPEAKER, str(os.getppid()), formatted(logging.ERROR, message)]
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[first.fileno()],
            start_new_session=True,  # torchrun kills the group of a rank
        )
    except OSError:  # another rank was first
        pass
    finally:
        first.close()
