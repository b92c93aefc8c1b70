"""TensorBoard as a person sees it: a real server on a real run, its tabs in a real browser.

The screenshots are left in pytest's temporary folder (tensorboard*/screenshots).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asd.loggers.tensorboard import TensorBoardLogger
from tests.end_to_end.conftest import FinishedRun
from tests.support.browser import CHROMIUM, Page, browser
from tests.support.launch import free_port
from tests.support.patience import PATIENCE_S, wait_for

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")
ALERT = "alert data_wait at step 6: the slowest rank waits for data 40 % of the time"


@dataclass(frozen=True)
class Board:
    """A TensorBoard that is running."""

    address: str
    page: Page
    screenshots: Path

    def ask(self, path: str, **query: str) -> bytes:
        """What its server answers."""
        words = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"{self.address}/data/plugin/{path}?{words}", timeout=PATIENCE_S) as answer:
            return answer.read()

    def tags(self, plugin: str, run: str) -> set[str]:
        return set(json.loads(self.ask(f"{plugin}/tags"))[run])

    def show(self, tab: str, *words: str, only: str = "") -> str:
        """The text of a tab once these words are in it; its picture is kept. only: tags that fit this pattern."""
        self.page.open(f"{self.address}/?{urllib.parse.urlencode({'tagFilter': only})}#{tab}")
        text = self.page.wait_for(*words)
        self.page.screenshot(self.screenshots / f"{tab}{'_of_some' if only else ''}.png")
        return text


@pytest.fixture(scope="module")
def board(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """The finished run, and an alert on top."""
    place = tmp_path_factory.mktemp("tensorboard")
    shutil.copytree(finished_run.folder / "tensorboard", place / "logs")
    writer = TensorBoardLogger(place / "logs" / "train")
    writer.text(6, "alerts", ALERT)
    for step, value in enumerate((0.0, 1.0, 1.0, 0.0), start=5):
        writer.log(step, {"alert/data_wait": value})
    writer.close()
    (place / "screenshots").mkdir()
    with serve(place / "logs") as address, browser(place / "profile") as page:
        wait_for(lambda: has_begun(address))
        yield Board(address, page, place / "screenshots")


@contextmanager
def serve(logs: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--port", str(port)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--host", "127.0.0.1"], **quiet) as process:
        yield f"http://127.0.0.1:{port}"
        process.kill()


def has_begun(address: str) -> bool:
    """Whether it serves what both writers wrote."""
    try:
        with urllib.request.urlopen(f"{address}/data/runs", timeout=PATIENCE_S) as answer:
            return {"train", "eval"} <= set(json.load(answer))
    except OSError:
        return False


def test_scalars(board: Board) -> None:
    assert {"train/loss", "validation/loss", "alert/data_wait"} <= board.tags("scalars", "train")
    groups = ("alert", "auc", "auc_by_id", "figures", "mean", "pauc", "pauc_by_id", "train", "validation")
    board.show("timeseries", "data_wait", "auc/centroid /fan", *groups)
    board.show(
        "timeseries", "Tags matching filter 2 cards", "train /loss", "validation /loss", only="(train|validation)/loss$"
    )


def test_figures(board: Board) -> None:
    assert {"figures/roc", "figures/scores"} <= board.tags("images", "eval")
    (shown,) = json.loads(board.ask("images/images", run="eval", tag="figures/roc", sample="0"))
    assert board.ask("images/individualImage", **dict(urllib.parse.parse_qsl(shown["query"]))).startswith(b"\x89PNG")
    board.show("images", *(f"figures/{name} eval" for name in ("angles", "comparison", "roc", "scores")), "step 10")


def test_text(board: Board) -> None:
    board.show("text", ALERT, "backbone: name: mobilefacenet", "report")


def test_projector(board: Board) -> None:
    assert json.loads(board.ask("projector/runs")) == ["eval"]
    board.show("projector", "Points: 32", "test:00010", "machine 3 colors")
