"""The check that tests leave nothing finds what they leave."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.support import leftovers
from tests.support.patience import wait_for


def test_a_process_that_goes_on_is_found_though_its_parent_has_ended() -> None:
    """A daemon, as far as anybody else can tell."""
    done = subprocess.run(["bash", "-c", "sleep 1000 >&- 2>&- & echo $!"], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    wait_for(lambda: f"{pid}: sleep 1000" in leftovers.processes(grace_s=0))  # bash's own command line comes first
    os.kill(pid, signal.SIGKILL)
    assert f"{pid}: sleep 1000" not in leftovers.processes()


def test_a_run_in_the_working_tree_is_found() -> None:
    before = leftovers.files()
    stray = leftovers.ROOT / "stray_file_of_a_test"
    stray.touch()
    try:
        assert leftovers.files() - before == {stray.name}
    finally:
        stray.unlink()
