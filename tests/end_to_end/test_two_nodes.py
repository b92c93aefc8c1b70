"""Two nodes for real: two network namespaces joined by a cable, one entrypoint with its torchrun in each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from asd.run_folder import checkpoint
from tests.support.launch import losses, records
from tests.support.launching import endless, entrypoint, kill_tree
from tests.support.patience import wait_for

# Seconds; torch's own defaults wait minutes for a node that is gone. A node that is cut off may wait longer for its
# store than the other one needs to go on alone: gloo's time limit, a start and a few steps.
PATIENCE = "keep_alive_interval=2,keep_alive_max_attempt=5,last_call_timeout=1,read_timeout=200"
GLOO_TIMEOUT = "distributed.timeout_s=20"


@dataclass(frozen=True)
class Cable:
    """Two network namespaces, whose only way to each other can be cut."""

    name: str

    def node(self, number: int) -> str:
        return f"{self.name}-{number}"

    def lay(self) -> None:
        self._ip("link", "add", self.node(0), "type", "veth", "peer", "name", self.node(1))
        for number in (0, 1):
            space = self.node(number)
            self._ip("netns", "add", space)
            self._ip("link", "set", space, "netns", space)
            for words in (f"addr add 10.77.0.{number + 1}/24 dev {space}", f"link set {space} up", "link set lo up"):
                self._ip("-n", space, *words.split())

    def cut(self) -> None:
        self._ip("-n", self.node(1), "link", "set", self.node(1), "down")

    def mend(self) -> None:
        self._ip("-n", self.node(1), "link", "set", self.node(1), "up")

    def remove(self) -> None:
        for number in (0, 1):
            with suppress(subprocess.CalledProcessError):
                self._ip("netns", "del", self.node(number))

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    cable = Cable(f"asd{os.getpid()}")
    try:
        cable.lay()
    except subprocess.CalledProcessError as error:
        cable.remove()
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield cable
    cable.remove()


def start(
    cable: Cable, number: int, log: Path, arguments: list[str], nodes: str
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """One node's entrypoint."""
    space = cable.node(number)
    return entrypoint(
        log,
        arguments,
        before=["ip", "netns", "exec", space],
        NNODES=nodes,
        NODE_RANK=str(number),
        RDZV_ENDPOINT="10.77.0.1:29400",
        RDZV_CONF=PATIENCE,
        LOCAL_ADDR=f"10.77.0.{number + 1}",
        GLOO_SOCKET_IFNAME=space,
        STOPPED_EXIT_CODE="143",
    )


def newest(folder: Path) -> int:
    return checkpoint.complete_steps(folder / "checkpoints")[-1]


def test_a_node_is_killed_and_comes_back(cable: Cable, small_set: Path, tmp_path: Path) -> None:
    """Static: the other node waits for it, and both go on from the newest checkpoint."""
    folder, logs = tmp_path / "run", [tmp_path / "log_0", tmp_path / "log_1"]
    words = endless(small_set, folder, "checkpoint={every_steps: 2, keep_last: 2}", GLOO_TIMEOUT)
    with start(cable, 0, logs[0], words, "2") as first:
        with start(cable, 1, logs[1], words, "2") as second:
            wait_for(lambda: len(records(folder)) >= 4)
            kill_tree(second)
        wait_for(lambda: "another rank exited" in said(logs))
        lost = newest(folder)  # a save that was under way at the kill is done
        with start(cable, 1, logs[1], words, "2") as second:
            wait_for(lambda: newest(folder) > lost)
            second.send_signal(signal.SIGTERM)  # to one node: both are stopped
            codes = [first.wait(), second.wait()]
    assert codes == [143, 143], said(logs)
    assert f"resuming from step {lost}\n" in said(logs)
    assert said(logs).count("2 ranks on cpu") == 2
    assert max(losses(folder)) == newest(folder)


def test_the_cable_is_cut_and_mended(cable: Cable, small_set: Path, tmp_path: Path) -> None:
    """Elastic: the node with the rendezvous goes on alone, and the other one joins again."""
    folder, logs = tmp_path / "run", [tmp_path / "log_0", tmp_path / "log_1"]
    words = endless(small_set, folder, "checkpoint={every_steps: 2, keep_last: 2}", GLOO_TIMEOUT)
    with start(cable, 0, logs[0], words, "1:2") as first, start(cable, 1, logs[1], words, "1:2") as second:
        wait_for(lambda: "2 ranks on cpu" in said(logs) and len(records(folder)) >= 4)
        cable.cut()
        wait_for(lambda: "saved by 2 ranks, now 1" in said(logs))
        alone = max(losses(folder))
        wait_for(lambda: max(losses(folder)) > alone)
        cable.mend()
        wait_for(lambda: "saved by 1 ranks, now 2" in said(logs))
        together = max(losses(folder))
        wait_for(lambda: max(losses(folder)) > together)
        second.send_signal(signal.SIGTERM)
        codes = [first.wait(), second.wait()]
    assert codes == [143, 143], said(logs)
    assert max(losses(folder)) == newest(folder)


def said(logs: list[Path]) -> str:
    return "".join(log.read_text() for log in logs)
